-- Takes a job out of its session's entry, unless another attempt of it is just joining. Needs no memory where none is.
--
-- KEYS  1 session entry   2 marks of those who are joining
-- ARGV  1 the job's field   2 job
redis.call('HDEL', KEYS[1], '') -- a full server lets the rest pass then (see write.lua)
local begins = ARGV[2] .. ' '
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
for _, mark in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf')) do
  if string.sub(mark, 1, #begins) == begins then
    local value = redis.call('HGET', KEYS[1], ARGV[1])
    if value and string.sub(value, 1, 1) == '+' then
      redis.call('HSET', KEYS[1], ARGV[1], string.sub(value, 2))
    end
    return 0
  end
end
local left = redis.call('HDEL', KEYS[1], ARGV[1])
if redis.call('ZCOUNT', KEYS[2], '(' .. now, '+inf') == 0 then
  forget_if_empty(KEYS[1])
end
return left
