-- Enters a member into a set, unless that has its fill, and keeps the set long enough.
--
-- KEYS  1 set
-- ARGV  1 member   2 keep until (ms)   3 how many are allowed
-- Answers 1 if the member is in, else 0.
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[3]) then
    return 0
  end
  redis.call('SADD', KEYS[1], ARGV[1])
end
local time, left = redis.call('TIME'), redis.call('PTTL', KEYS[1])
if left < 0 or time[1] * 1000 + math.floor(time[2] / 1000) + left < tonumber(ARGV[2]) then
  redis.call('PEXPIREAT', KEYS[1], ARGV[2])
end
return 1
