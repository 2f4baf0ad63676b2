-- Creates a record, or replaces an ended one that stands at exactly the given generation.
--
-- KEYS  1 record   2 due set of its shard
-- ARGV  1 attempt   2 member of the due set   3 generation to replace, or ''   4 due (ms), or ''   5 keep until (ms)
--       6.. names and values of the fields
-- Answers {'done'}, {'already'}, or {'exists', name, value, ...} with the record that stands there.
local job, due = KEYS[1], KEYS[2]
local fence, attempts = false, ''
if redis.call('EXISTS', job) == 1 then
  local old = redis.call('HMGET', job, 'attempts', 'gen', 'state', 'fence')
  attempts, fence = old[1] or '', old[4]
  if string.find(attempts, ARGV[1], 1, true) then
    return {'already'}
  end
  if old[3] ~= 'ended' or old[2] ~= ARGV[3] then
    local answer = redis.call('HGETALL', job)
    table.insert(answer, 1, 'exists')
    return answer
  end
  redis.call('DEL', job)
end
redis.call('HSET', job, unpack(ARGV, 6))
if fence then -- an old holder's fence must stay old
  redis.call('HSET', job, 'fence', fence)
end
-- Sixteen attempts of sixteen digits, each followed by a blank.
redis.call('HSET', job, 'attempts', string.sub(ARGV[1] .. ' ' .. attempts, 1, 16 * 17))
if ARGV[4] == '' then
  redis.call('ZREM', due, ARGV[2])
else
  redis.call('ZADD', due, ARGV[4], ARGV[2])
end
redis.call('PEXPIREAT', job, ARGV[5])
return {'done'}
