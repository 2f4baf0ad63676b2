-- Enters a child under its parent unless the parent has its fill; the set expires with the parent's record.
--
-- KEYS  1 children of the parent   2 the parent's record
-- ARGV  1 child   2 how many are allowed   3 how long the set is kept where the parent is gone (ms)
-- Answers 1 if the child is in, else 0.
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then
    return 0
  end
  redis.call('SADD', KEYS[1], ARGV[1])
end
local left = redis.call('PTTL', KEYS[2])
if left < 0 then
  left = ARGV[3]
end
redis.call('PEXPIRE', KEYS[1], left)
return 1
