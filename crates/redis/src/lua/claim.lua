-- Leases due records of one shard; their due entries move to the end of the lease.
--
-- KEYS  1 due set
-- ARGV  1 prefix of the shard's record keys   2 now (ms)   3 end of the lease (ms)   4 who asks   5 at most this many
-- Answers a list of {member of the due set, fence, due (ms), names and values of the fields}.
--
-- What is renewed needs no more memory afterwards, so a full server is to let it (see write.lua).
--
-- The record keys are made of the shard's own prefix, so that they carry the same hash tag as KEYS[1].
local due, prefix, now, lease_until, holder = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, claimed = tonumber(ARGV[5]), {}
while #claimed < limit do
  local found = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'WITHSCORES', 'LIMIT', 0, limit - #claimed)
  if #found == 0 then
    break
  end
  redis.call('ZREM', due, '')
  for i = 1, #found, 2 do
    local member, job = found[i], prefix .. found[i]
    if redis.call('EXISTS', job) == 0 then -- it has expired
      redis.call('ZREM', due, member)
    else
      -- Counted in milliseconds: a store that has lost claims must not hand the same fence to two holders.
      local fence = tonumber(redis.call('HGET', job, 'fence') or '0') + 1
      fence = string.format('%.0f', math.max(fence, tonumber(now)))
      redis.call('HSET', job, 'fence', fence, 'lease_holder', holder, 'lease_until', lease_until)
      redis.call('ZADD', due, lease_until, member)
      table.insert(claimed, {member, fence, found[i + 1], redis.call('HGETALL', job)})
    end
  end
end
return claimed
