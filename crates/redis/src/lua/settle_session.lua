-- Notes that a job has come to live in its session. Does nothing where it has left.
--
-- KEYS  1 session entry
-- ARGV  1 the job's field
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], ARGV[1], '')
end
return 1
