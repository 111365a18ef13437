-- A bucket at one moment, with its marks; MGET alone cannot see a hash.
--
-- KEYS: the stand | for each space: its summary, its marks | values
-- ARGV: number of spaces
-- Gives: the stand | for each space: summary, marks | values
local seen, spaces = { redis.call('GET', KEYS[1]) }, tonumber(ARGV[1])
for space = 1, spaces do
    seen[2 * space] = redis.call('GET', KEYS[2 * space])
    seen[2 * space + 1] = redis.call('HGETALL', KEYS[2 * space + 1])
end
for key = 2 * spaces + 2, #KEYS do
    seen[key] = redis.call('GET', KEYS[key])
end
return seen
