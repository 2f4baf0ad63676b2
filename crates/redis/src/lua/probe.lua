-- Whether the server takes writes that need memory: it refuses this one where it does not.
--
-- KEYS  1 a key of no other use
-- ARGV  1 how long it is kept (ms)
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return 1
