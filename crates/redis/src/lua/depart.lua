-- Forgets a replica.
--
-- KEYS  1 what replicas told   2 until when each counts as alive
-- ARGV  1 replica
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
