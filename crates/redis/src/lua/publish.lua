-- Tells what happened; the oldest events give way.
--
-- KEYS  1 the events (stream)
-- ARGV  1 event (JSON)   2 how many are kept, more or less   3 how long they are kept when nothing more happens (ms)
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[2]) -- a full server lets the rest pass then (see write.lua)
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'event', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
