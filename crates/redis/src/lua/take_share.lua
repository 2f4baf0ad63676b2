-- Counts one more record of a module's, unless there are as many as may be. What is counted is forgotten by itself.
--
-- KEYS  1 how many records are kept until which hour (hash)
-- ARGV  1 keep until (ms)   2 how many are allowed
-- Answers 1 if it was counted, else 0.
local hour = 3600000
local time, counts, total, gone = redis.call('TIME'), redis.call('HGETALL', KEYS[1]), 0, {}
local now, last = math.floor(time[1] * 1000 / hour), math.floor(tonumber(ARGV[1]) / hour)
local own = last
for i = 1, #counts, 2 do
  local until_hour = tonumber(counts[i])
  if until_hour < now then
    table.insert(gone, counts[i])
  else
    total, last = total + tonumber(counts[i + 1]), math.max(last, until_hour)
  end
end
if total >= tonumber(ARGV[2]) then
  return 0
end
redis.call('HINCRBY', KEYS[1], string.format('%.0f', own), 1)
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', (last + 1) * hour))
if #gone > 0 then
  redis.call('HDEL', KEYS[1], unpack(gone))
end
return 1
