-- Enters a job into its session's entry that asks for nothing there, and keeps the entry long enough.
--
-- KEYS  1 session entry
-- ARGV  1 the job's field   2 keep until (ms)
-- Answers the incarnation.
local entry, field = KEYS[1], ARGV[1]
local time, left = redis.call('TIME'), redis.call('PTTL', entry)
redis.call('HDEL', entry, '') -- a full server lets the rest pass then (see write.lua)
redis.call('HSETNX', entry, 'inc', '0')
local value = redis.call('HGET', entry, field)
if not value then
  redis.call('HSET', entry, field, '')
elseif string.match(value, '^%d') then
  redis.call('HSET', entry, field, '+' .. value)
end
if left < 0 or time[1] * 1000 + math.floor(time[2] / 1000) + left < tonumber(ARGV[2]) then
  redis.call('PEXPIREAT', entry, ARGV[2])
end
return tonumber(redis.call('HGET', entry, 'inc'))
