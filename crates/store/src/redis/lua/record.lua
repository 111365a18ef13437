-- A bucket at one moment, and then early copies behind its values. Whoever comes next reads them.
--
-- KEYS: the stand | for each space: its summary, its marks | values to read | values to append to
-- ARGV: epoch in the names | 1 to give the marks | number of spaces | number of values to read
--       | bytes that a value may have | for each copy: the number of its space, milliseconds to
--         live or 0, the record
-- Gives: the stand | for each space: summary, and marks if asked for | values | for each copy, 1 if
--        it is there
local stand = redis.call('GET', KEYS[1])
local here = stand and string.sub(stand, 9, 24) == ARGV[1]
local spaces, reads, room = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local seen, begun = { stand }, {}
for space = 1, spaces do
    local summary = redis.call('GET', KEYS[2 * space])
    begun[space] = summary and true or false
    seen[#seen + 1] = summary
    if ARGV[2] == '1' then
        seen[#seen + 1] = redis.call('HGETALL', KEYS[2 * space + 1])
    end
end
local first = 2 * spaces + 2
for key = first, first + reads - 1 do
    seen[#seen + 1] = redis.call('GET', KEYS[key])
end

local function append(value, ttl, record)
    if redis.call('STRLEN', value) + #record > room then
        return 0
    end
    local length = redis.pcall('APPEND', value, record)
    if type(length) == 'table' then
        -- No memory, or no replica to write to: the reads stand all the same.
        return string.find(length.err, 'READONLY', 1, true) and -1 or 0
    end
    if ttl ~= '0' then
        redis.call('PEXPIRE', value, ttl)
    end
    return 1
end

local at = 6
for key = first + reads, #KEYS do
    local done = 0
    if here and begun[tonumber(ARGV[at])] then
        done = append(KEYS[key], ARGV[at + 1], ARGV[at + 2])
    end
    if done < 0 then
        return redis.error_reply('READONLY it is a replica')
    end
    seen[#seen + 1] = done
    at = at + 3
end
return seen
