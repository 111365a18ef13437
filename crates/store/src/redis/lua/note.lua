-- Sets a note, if it is still the one that its writer saw.
--
-- KEYS: the note
-- ARGV: the new note | the one that was seen, or nothing where there was none
-- Gives: 1 if it was done
local there = redis.call('GET', KEYS[1])
if there ~= (ARGV[2] or false) then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
