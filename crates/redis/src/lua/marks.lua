-- What the scripts share that take a job out of the way into its session; it stands before theirs.

-- Takes away the mark that an attempt of a job has left. Answers when that attempt joined (ms), or false where there is no such
-- mark, and when the last of the job's other attempts did, or 0.
local function take_mark(marks, job, attempt, lasts)
  local begins = job .. ' '
  local mine, last = false, 0 -- marks come in the order of their ends
  local standing = redis.call('ZRANGE', marks, 0, -1, 'WITHSCORES')
  for i = 1, #standing, 2 do
    local since = tonumber(standing[i + 1]) - tonumber(lasts)
    if string.sub(standing[i], 1, #begins + #attempt + 1) == begins .. attempt .. ' ' then
      redis.call('ZREM', marks, standing[i])
      mine = since
    elseif string.sub(standing[i], 1, #begins) == begins then
      last = since
    end
  end
  return mine, last
end

-- Deletes a session's entry that tells nothing: one without jobs that was never superseded is known as well without it.
local function forget_if_empty(entry)
  if redis.call('HGET', entry, 'inc') ~= '0' then
    return
  end
  local other = redis.call('HLEN', entry)
  for _, name in ipairs({'inc', 'joined', 'hold', 'held'}) do
    other = other - redis.call('HEXISTS', entry, name)
  end
  if other == 0 then
    redis.call('DEL', entry)
  end
end

