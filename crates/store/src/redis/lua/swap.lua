-- Puts a new base in place of what was folded, if that is what is there. Compares and splices; it
-- does not know what the bytes mean. The value is drawn in value.rs.
--
-- KEYS: the value
-- ARGV: header of the base that was read, or nothing | bytes before the tail | bytes of the tail
--       that was read | their SHA-1 in hex, or nothing to take any | new header and base | what is
--       kept of the tail
-- Gives: 1 if it was done
local key, header = KEYS[1], ARGV[1]
local from, len = tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('EXISTS', key) == 0 or redis.call('STRLEN', key) < from + len then
    return 0
end
if header == '' then
    if redis.call('GETRANGE', key, 0, 0) == '\0' then
        return 0
    end
elseif redis.call('GETRANGE', key, 0, #header - 1) ~= header then
    return 0
end
local tail = redis.call('GETRANGE', key, from, -1)
if ARGV[4] ~= '' and redis.sha1hex(string.sub(tail, 1, len)) ~= ARGV[4] then
    return 0
end
local value = ARGV[5] .. ARGV[6] .. string.sub(tail, len + 1)
if value == '' then
    redis.call('DEL', key)
else
    redis.call('SET', key, value, 'KEEPTTL')
end
return 1
