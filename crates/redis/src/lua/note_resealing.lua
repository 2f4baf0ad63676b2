-- Notes how far a re-sealing has come.
--
-- KEYS  1 the re-sealing
-- ARGV  1 replica   2 key id   3 started (ms)   4 how long it is remembered (ms)   5 finished (ms), or ''   6 cursor, or ''
--       7.. names and values of the counts
-- Answers 1, or 0 where another replica has the work, or it is another one.
local old = redis.call('HMGET', KEYS[1], 'worker', 'key', 'started')
if old[1] ~= ARGV[1] or old[2] ~= ARGV[2] or old[3] ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
for field, value in pairs({finished = ARGV[5], cursor = ARGV[6]}) do
  if value == '' then
    redis.call('HDEL', KEYS[1], field)
  else
    redis.call('HSET', KEYS[1], field, value)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
