-- Answers with what the live replicas told, by their names: each the time (ms), a blank, and the JSON.
--
-- KEYS  1 what replicas told   2 until when each counts as alive
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local live = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf')
table.sort(live)
local told = {}
for _, replica in ipairs(live) do
  table.insert(told, redis.call('HGET', KEYS[1], replica) or nil)
end
return told
