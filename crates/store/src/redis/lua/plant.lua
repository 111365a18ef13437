-- Puts a first base where a key holds nothing, if the bucket is still of the epoch in which that was
-- seen.
--
-- KEYS: the stand | the set of spaces | the value
-- ARGV: epoch | digest of the space | milliseconds to live, or 0 | header and base
-- Gives: 1 if it was done
local stand = redis.call('GET', KEYS[1])
if not stand or string.sub(stand, 9, 24) ~= ARGV[1] or redis.call('EXISTS', KEYS[3]) == 1 then
    return 0
end
redis.call('SADD', KEYS[2], ARGV[2])
if ARGV[3] == '0' then
    redis.call('SET', KEYS[3], ARGV[4])
else
    redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[3])
end
return 1
