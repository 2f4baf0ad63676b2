-- Answers with what the live replicas told, by their names: each the time (ms), a blank, and the JSON.
--
-- KEYS  1 what replicas told   2 until when each counts as alive
local told = {}
for _, replica in ipairs(live_replicas(KEYS[2])) do
  table.insert(told, redis.call('HGET', KEYS[1], replica) or nil)
end
return told
