-- Enters a member into a set and keeps the set long enough.
--
-- KEYS  1 set
-- ARGV  1 member   2 keep until (ms)
-- Answers 1 if the member is new, else 0.
local added = redis.call('SADD', KEYS[1], ARGV[1])
local time, left = redis.call('TIME'), redis.call('PTTL', KEYS[1])
if left < 0 or time[1] * 1000 + math.floor(time[2] / 1000) + left < tonumber(ARGV[2]) then
  redis.call('PEXPIREAT', KEYS[1], ARGV[2])
end
return added
