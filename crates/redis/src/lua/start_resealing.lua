-- Asks for a re-sealing, unless one to the same key is under way.
--
-- KEYS  1 the re-sealing
-- ARGV  1 key id   2 how long it is remembered (ms)   3.. names and values of the fields
-- Answers the names and values of the one that stands.
local old = redis.call('HMGET', KEYS[1], 'key', 'finished')
if old[1] ~= ARGV[1] or old[2] then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], unpack(ARGV, 3))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.call('HGETALL', KEYS[1])
