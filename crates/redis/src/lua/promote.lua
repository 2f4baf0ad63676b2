-- Makes a key the one that seals, if every live replica holds it, and the same one, and it is the one that was vouched for.
--
-- KEYS  1 what replicas told   2 until when each counts as alive   3 the promoted key's id   4 the check values
-- ARGV  1 key id
-- Answers {'done'}, {'already'}, {'missing', replica, ...} or {'differs', replica, ...}.
if redis.call('GET', KEYS[3]) == ARGV[1] then
  return {'already'}
end
local live = live_replicas(KEYS[2])
local missing, check, differs = {'missing'}, redis.call('HGET', KEYS[4], ARGV[1]), false
for _, replica in ipairs(live) do
  local own = key_told(KEYS[1], replica, ARGV[1])
  if not own then
    table.insert(missing, replica)
  elseif check and check ~= own then
    differs = true
  else
    check = own
  end
end
if #missing > 1 or #live == 0 then
  return missing
end
if differs then
  table.insert(live, 1, 'differs')
  return live
end
redis.call('SET', KEYS[3], ARGV[1])
return {'done'}
