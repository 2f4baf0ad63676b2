-- Notes what a replica tells of itself, and forgets those that have not been heard of for too long.
--
-- KEYS  1 what replicas told (hash)   2 until when each counts as alive (sorted set)
--       3 there while replicas may be at work that leave no marks when they join a session
-- ARGV  1 replica   2 what it tells (JSON)   3 how long that holds (ms)   4 what those tell that leave marks
--       5 how long the last one that does not may be at work after it was heard of (ms)
-- What is kept is the time it was told (ms), a blank, and the JSON.
-- Answers 1 while there may be such replicas, else 0.
redis.call('HDEL', KEYS[1], ARGV[1]) -- a full server lets the rest pass then (see write.lua)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))) do
  redis.call('HDEL', KEYS[1], gone)
  redis.call('ZREM', KEYS[2], gone)
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. ' ' .. ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[1], last)
redis.call('PEXPIREAT', KEYS[2], last)
for _, told in ipairs(redis.call('HVALS', KEYS[1])) do
  if not string.find(told, ARGV[4], 1, true) then
    redis.call('SET', KEYS[3], '1', 'PX', ARGV[5])
  end
end
return redis.call('EXISTS', KEYS[3])
