-- Sets a value that is forgotten at an instant; at once, if that has passed.
--
-- KEYS  1 key
-- ARGV  1 value   2 instant (ms)
redis.call('DEL', KEYS[1]) -- a full server lets the rest pass then (see write.lua)
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PEXPIREAT', KEYS[1], ARGV[2])
return 1
