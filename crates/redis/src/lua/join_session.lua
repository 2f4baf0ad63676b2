-- Enters a job into its session's entry, which is made if it is not there, and keeps the entry long enough.
--
-- KEYS  1 session entry
-- ARGV  1 the job's field   2 keep until (ms)
-- Answers the entry's names and values after it.
--
-- The job's field holds since when it has been joining, until it is settled (then it is empty).
local time, left = redis.call('TIME'), redis.call('PTTL', KEYS[1])
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSETNX', KEYS[1], 'inc', '0')
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now))
local entry = redis.call('HGETALL', KEYS[1])
if left < 0 or now + left < tonumber(ARGV[2]) then
  redis.call('PEXPIREAT', KEYS[1], ARGV[2])
end
return entry
