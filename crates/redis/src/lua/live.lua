-- What the scripts share that ask who is alive; it stands before theirs.

-- The live replicas by their names, of the sorted set of until when each counts as alive.
local function live_replicas(alive)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local live = redis.call('ZRANGEBYSCORE', alive, '(' .. string.format('%.0f', now), '+inf')
  table.sort(live)
  return live
end

-- The check value of the key of this id that a replica has told of; nothing where it holds none.
local function key_told(all, replica, id)
  local told = redis.call('HGET', all, replica)
  return told and cjson.decode(string.match(told, '^%d+ (.*)$')).keys[id]
end

