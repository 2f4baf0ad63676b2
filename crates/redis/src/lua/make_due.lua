-- Makes a record due at an instant and to be renewed from another one on, unless it has ended. A time of renewal that lies
-- between the two stays. One that is leased stays so; whoever claims it next finds from when on it is to be renewed.
--
-- KEYS  1 record   2 due set of its shard
-- ARGV  1 member of the due set   2 the instant (ms)   3 the other one (ms)   4 when the end of its session was announced
--       (ms), if it was: that is noted, and a lease is taken back
-- Answers 1 if it was made due, else 0.
local state = redis.call('HMGET', KEYS[1], 'state', 'lease_until', 'renew')
if not state[1] or state[1] == 'ended' then
  return 0
end
redis.call('HDEL', KEYS[1], '') -- a full server lets the rest pass then (see write.lua)
if ARGV[4] then
  -- Who has it in hand does not know, and is to send nothing any more.
  redis.call('HDEL', KEYS[1], 'lease_holder', 'lease_until')
  redis.call('HSET', KEYS[1], 'announced', ARGV[4])
  state[2] = false
end
local renew = tonumber(state[3] or '')
if not renew or renew <= tonumber(ARGV[2]) or renew >= tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], 'renew', ARGV[3])
end
if state[2] then
  return 0
end
local score = redis.call('ZSCORE', KEYS[2], ARGV[1])
if score and tonumber(score) <= tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'due', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
return 1
