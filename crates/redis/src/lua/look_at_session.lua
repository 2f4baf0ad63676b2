-- Answers what a renewal must know of its session, and holds it where the renewal is about to exchange and others are joining:
-- newcomers wait meanwhile. A hold is not prolonged once nobody is joining, or the renewals of a busy session would keep it
-- among themselves. What it costs does not depend on how many jobs are entered, unless older replicas are there.
--
-- KEYS  1 session entry   2 marks of those who are joining
-- ARGV  1 the job's field   2 job   3 for how long a mark counts (ms)   4 '1' if it is about to exchange
--       5 how long it holds the session (ms)   6 for how long at most in all (ms)   7 how long after a hold none begins (ms)
--       8 '1' if there may be older replicas, which leave no marks: then every job's field is looked at
-- Answers {incarnation, what changes with every join, 1 if somebody else is joining}, or nothing where there is no entry.
local entry = KEYS[1]
local old = redis.call('HMGET', entry, 'inc', 'joined', 'hold', 'held')
if not old[1] then
  return {}
end
local time, begins, joining = redis.call('TIME'), ARGV[2] .. ' ', 0
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, mark in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf')) do
  if string.sub(mark, 1, #begins) ~= begins then
    joining = 1
  end
end
local joins = old[2] or ''
if ARGV[8] == '1' then
  local fields, seen = redis.call('HGETALL', entry), {}
  for i = 1, #fields, 2 do
    local since = tonumber(fields[i + 1])
    if string.sub(fields[i], 1, 4) == 'job:' then
      table.insert(seen, fields[i] .. ' ' .. fields[i + 1])
      if fields[i] ~= ARGV[1] and since and now < since + tonumber(ARGV[3]) then
        joining = 1
      end
    end
  end
  table.sort(seen)
  joins = joins .. ' ' .. redis.sha1hex(table.concat(seen, ' '))
end
if ARGV[4] == '1' and joining == 1 then
  redis.call('HDEL', entry, '') -- a full server lets the rest pass then (see write.lua)
  local hold, lasts, held = tonumber(old[3] or ''), now + tonumber(ARGV[5]), tonumber(old[4] or '')
  if hold and held and now < hold then
    lasts = math.min(lasts, held + tonumber(ARGV[6]))
    if lasts > hold then
      redis.call('HSET', entry, 'hold', string.format('%.0f', lasts))
    end
  elseif not hold or now >= hold + tonumber(ARGV[7]) then
    redis.call('HSET', entry, 'held', string.format('%.0f', now), 'hold', string.format('%.0f', lasts))
  end
end
return {old[1], joins, joining}
