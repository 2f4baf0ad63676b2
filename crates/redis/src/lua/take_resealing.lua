-- Takes the work of a re-sealing up, or keeps it, where nobody else has it.
--
-- KEYS  1 the re-sealing
-- ARGV  1 replica   2 now (ms)   3 until when it is taken (ms)
-- Answers the names and values of its fields, or nothing.
local old = redis.call('HMGET', KEYS[1], 'key', 'finished', 'worker', 'until')
if not old[1] or old[2] then
  return {}
end
if old[3] and old[3] ~= ARGV[1] and tonumber(old[4]) > tonumber(ARGV[2]) then
  return {}
end
redis.call('HSET', KEYS[1], 'worker', ARGV[1], 'until', ARGV[3])
return redis.call('HGETALL', KEYS[1])
