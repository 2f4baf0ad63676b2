-- Notes that a job has come to live in its session. Does nothing where neither its mark nor the job is there any more.
--
-- KEYS  1 session entry   2 marks of those who are joining
-- ARGV  1 the job's field   2 job   3 attempt   4 for how long a mark counts (ms)
local entry, field = KEYS[1], ARGV[1]
redis.call('HDEL', entry, '') -- a full server lets the rest pass then (see write.lua)
local mine, last = take_mark(KEYS[2], ARGV[2], ARGV[3], ARGV[4])
local old = redis.call('HGET', entry, field)
if old or mine then
  -- A later join than all marks tell of is an older replica's.
  local said = tonumber(old or '') or 0
  if said > math.max(mine or 0, last) then
    last = said
  end
  redis.call('HSET', entry, field, last > 0 and '+' .. string.format('%.0f', last) or '')
end
return 1
