-- Counts a record of a module's as kept until another instant, or not at all.
--
-- KEYS  1 how many records are kept until which hour (hash)
-- ARGV  1 it was to be kept until (ms)   2 it is kept until (ms), or ''
local hour = 3600000
local from = string.format('%.0f', math.floor(tonumber(ARGV[1]) / hour))
local count = tonumber(redis.call('HGET', KEYS[1], from) or '0')
redis.call('HDEL', KEYS[1], '') -- a full server lets the rest pass then (see write.lua)
if count < 1 then
  return 0 -- it was not counted: an older replica's, or lost
elseif count == 1 then
  redis.call('HDEL', KEYS[1], from)
else
  redis.call('HINCRBY', KEYS[1], from, -1)
end
if ARGV[2] ~= '' then
  local left, to = redis.call('PTTL', KEYS[1]), math.floor(tonumber(ARGV[2]) / hour)
  redis.call('HINCRBY', KEYS[1], string.format('%.0f', to), 1)
  local time = redis.call('TIME')
  if left < 0 or time[1] * 1000 + left < (to + 1) * hour then
    redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', (to + 1) * hour))
  end
end
return 1
