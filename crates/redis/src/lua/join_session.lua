-- Enters a job into its session's entry, which is made if it is not there, and keeps the entry long enough. What it costs does
-- not depend on how many jobs are entered.
--
-- KEYS  1 session entry   2 marks of those who are joining (sorted set: until when each counts, ms)
-- ARGV  1 the job's field   2 keep until (ms)   3 job   4 attempt   5 module
--       6 for how long a mark counts (ms)   7 how many may join at a time   8 how many of them of one module
--       9 how many jobs may be entered
-- Answers {'in', incarnation}, {'held'}, {'busy'} or {'full'}.
--
-- The job's field is empty once the job lives in the session. While the job is joining it is the time of its last join (ms),
-- after a '+' where the field is not to go with a join that comes to nothing. Older replicas write and read these fields alone.
local entry, marks, field, mark = KEYS[1], KEYS[2], ARGV[1], ARGV[3] .. ' ' .. ARGV[4] .. ' ' .. ARGV[5]
local time, left = redis.call('TIME'), redis.call('PTTL', entry)
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local old = redis.call('HMGET', entry, 'inc', field, 'hold', 'joined')
if redis.call('ZSCORE', marks, mark) then
  return {'in', old[1] or '0'}
end
if old[3] and now < tonumber(old[3]) then
  return {'held'}
end
local past = string.format('%.0f', now)
local standing, of_one, of_job = redis.call('ZRANGEBYSCORE', marks, '(' .. past, '+inf'), 0, false
for _, other in ipairs(standing) do
  local job, by = string.match(other, '^(%S+) %S+ (%S+)$')
  of_job = of_job or job == ARGV[3]
  if by == ARGV[5] then
    of_one = of_one + 1
  end
end
if #standing >= tonumber(ARGV[7]) or of_one >= tonumber(ARGV[8]) then
  return {'busy'}
end
-- Four fields at most are not jobs'.
if not old[2] and redis.call('HLEN', entry) >= tonumber(ARGV[9]) + 4 then
  return {'full'}
end
local joined = math.max(now, tonumber(old[4] or '0') + 1)
local since = string.format('%.0f', now)
if old[2] and not (of_job and string.match(old[2], '^%d')) then
  since = '+' .. since
end
redis.call('HSETNX', entry, 'inc', '0')
redis.call('HSET', entry, field, since, 'joined', string.format('%.0f', joined))
local counts = string.format('%.0f', now + tonumber(ARGV[6]))
redis.call('ZADD', marks, counts, mark)
redis.call('ZREMRANGEBYSCORE', marks, '-inf', past) -- not sooner: a full server is to refuse a newcomer
redis.call('PEXPIREAT', marks, counts)
if left < 0 or now + left < tonumber(ARGV[2]) then
  redis.call('PEXPIREAT', entry, ARGV[2])
end
return {'in', old[1] or '0'}
