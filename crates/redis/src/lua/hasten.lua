-- Makes a record due now, unless it has ended. One that is leased stays so; whoever claims it next finds that it is to be
-- renewed.
--
-- KEYS  1 record   2 due set of its shard
-- ARGV  1 member of the due set   2 now (ms)   3 'renew' if its pair is to be replaced
-- Answers 1 if it was made due, else 0.
local state = redis.call('HMGET', KEYS[1], 'state', 'lease_until')
if not state[1] or state[1] == 'ended' then
  return 0
end
if ARGV[3] == 'renew' then
  redis.call('HSET', KEYS[1], 'renew', ARGV[2])
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
