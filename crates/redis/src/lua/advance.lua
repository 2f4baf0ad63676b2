-- Moves the schema's number on.
--
-- KEYS  1 the schema's number
-- ARGV  1 the number it must have   2 the next one
-- Answers 1 if it has the next one by now, else 0.
local found = redis.call('GET', KEYS[1])
if found == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2])
  return 1
end
return found == ARGV[2] and 1 or 0
