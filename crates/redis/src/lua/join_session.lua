-- Enters a job into its session's entry, which is made if it is not there, and keeps the entry long enough.
--
-- KEYS  1 session entry
-- ARGV  1 the job's field   2 keep until (ms)
-- Answers the entry's names and values after it.
redis.call('HSETNX', KEYS[1], 'inc', '0')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local entry = redis.call('HGETALL', KEYS[1])
local time, left = redis.call('TIME'), redis.call('PTTL', KEYS[1])
if left < 0 or time[1] * 1000 + math.floor(time[2] / 1000) + left < tonumber(ARGV[2]) then
  redis.call('PEXPIREAT', KEYS[1], ARGV[2])
end
return entry
