-- Changes a record: guard, attempts, fields, lease, due entry and expiry in one step.
--
-- KEYS  1 record   2 due set of its shard   3 the record's children
-- ARGV  1 attempt   2 member of the due set   3 generation
--       4 state, 5 fence, 6 intent, 7 incarnation, 8 seal on the terms ('-' for none): what must still hold, each ''
--       where it does not matter
--       9 due (ms), or ''   10 what becomes of the writer's lease: 'kept', 'back', or '' where it has none
--       11 '1' if the change touches `due`   12 '1' if it sets fields that schema 4 keeps in `who`
--       13 how many fields are set   14.. their names and values, then the names of the fields to remove
-- Answers 'done', 'already', 'conflict' or 'gone'.
--
-- The rules for the lease and the due entry are those of `Write` in tokenvault-core's ports.
--
-- A full server refuses a script's first command that needs memory, and none after one that changes something and needs none.
-- So what is to be removed goes first: what ends a job, or renews it, must go on then. What is left of a tombstone is written
-- anew: a hash that has held sealed tokens would stay several times as large.
local job, due, children = KEYS[1], KEYS[2], KEYS[3]
local attempt, member, due_at, fenced = ARGV[1], ARGV[2], ARGV[9], ARGV[10] ~= ''
if redis.call('EXISTS', job) == 0 then
  return 'gone'
end
local old = redis.call('HMGET', job, 'attempts', 'gen', 'state', 'fence', 'intent', 'inc', 'terms', 'lease_until')
local attempts, was, leased_until = old[1] or '', old[3], old[8]
if string.find(attempts, attempt, 1, true) then
  return 'already'
end
if was == 'ended' then
  return 'conflict'
end
for i = 3, 8 do
  if ARGV[i] ~= '' and ARGV[i] ~= (old[i - 1] or (i == 5 and '0') or (i == 8 and '-')) then
    return 'conflict'
  end
end

if ARGV[12] == '1' and redis.call('HEXISTS', job, 'who') == 1 then
  return 'conflict' -- the writer has not heard of schema 4 yet; it will have when it reads the record again
end

local last_set = 13 + 2 * tonumber(ARGV[13])
redis.call('HDEL', job, '', unpack(ARGV, last_set + 1))
if last_set > 13 then
  redis.call('HSET', job, unpack(ARGV, 14, last_set))
end
-- Sixteen attempts of sixteen digits, each followed by a blank.
redis.call('HSET', job, 'attempts', string.sub(attempt .. ' ' .. attempts, 1, 16 * 17))

local begins_release = not fenced and was ~= 'releasing' and redis.call('HGET', job, 'state') == 'releasing'
if leased_until and (due_at == '' or begins_release or ARGV[10] == 'back') then
  redis.call('HDEL', job, 'lease_holder', 'lease_until')
  leased_until = false
end
if due_at == '' then
  redis.call('HDEL', job, 'due')
  redis.call('ZREM', due, member)
  local left = redis.call('HGETALL', job)
  redis.call('DEL', job)
  redis.call('HSET', job, unpack(left))
elseif leased_until then
  redis.call('ZADD', due, 'NX', leased_until, member)
elseif fenced or begins_release or ARGV[11] == '1' or not redis.call('ZSCORE', due, member) then
  redis.call('HSET', job, 'due', due_at)
  redis.call('ZADD', due, due_at, member)
end
local keep = redis.call('HGET', job, 'keep')
if keep then -- an error here would come after the change
  redis.call('PEXPIREAT', job, keep)
  redis.call('PEXPIREAT', children, keep)
end
return 'done'
