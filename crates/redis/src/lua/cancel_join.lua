-- Takes back what an attempt to join has left. Who was in the session before, or joins it by another attempt, stays in; so does
-- one that somebody else has entered since.
--
-- KEYS  1 session entry   2 marks of those who are joining
-- ARGV  1 the job's field   2 job   3 attempt   4 for how long a mark counts (ms)
-- Answers 1 if the mark was there, else 0.
local entry, marks, field = KEYS[1], KEYS[2], ARGV[1]
local mine, last = take_mark(marks, ARGV[2], ARGV[3], ARGV[4])
if not mine then
  return 0
end
local value = redis.call('HGET', entry, field)
local said = tonumber(value or '')
-- A later join than all marks tell of is an older replica's.
if said and said <= math.max(mine, last) then
  local stays = string.sub(value, 1, 1) == '+'
  if last > 0 then
    redis.call('HSET', entry, field, (stays and '+' or '') .. string.format('%.0f', last))
  elseif stays then
    redis.call('HSET', entry, field, '')
  else
    redis.call('HDEL', entry, field)
  end
end
if redis.call('ZCARD', marks) == 0 then
  forget_if_empty(entry)
end
return 1
