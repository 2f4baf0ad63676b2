-- Vouches for the key of an id, unless somebody has vouched for one before.
--
-- KEYS  1 what replicas told   2 until when each counts as alive   3 the check values
-- ARGV  1 key id   2 its check value   3 'unused' where nothing is stored under its id: then no live replica may hold another
-- Answers the check value that stands.
local standing = redis.call('HGET', KEYS[3], ARGV[1])
if standing then
  return standing
end
if ARGV[3] == 'unused' then
  for _, replica in ipairs(live_replicas(KEYS[2])) do
    local own = key_told(KEYS[1], replica, ARGV[1])
    if own and own ~= ARGV[2] then
      return own
    end
  end
end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
return ARGV[2]
