-- Notes that a life of a client session is over.
--
-- KEYS  1 session entry
-- ARGV  1 the incarnation that is over   2 how long an entry is kept that had not been there (ms)
-- Answers the incarnation after it.
redis.call('HDEL', KEYS[1], '') -- a full server lets the rest pass then (see write.lua)
local known = tonumber(redis.call('HGET', KEYS[1], 'inc') or '0')
local next_one = tonumber(ARGV[1]) + 1
if known < next_one then
  known = next_one
end
local fresh = redis.call('EXISTS', KEYS[1]) == 0
redis.call('HSET', KEYS[1], 'inc', string.format('%.0f', known))
if fresh then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return known
