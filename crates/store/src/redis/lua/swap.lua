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
local held = redis.call('STRLEN', key)
if held == 0 or held < from + len then
    return 0
end
if header == '' then
    if redis.call('GETRANGE', key, 0, 0) == '\0' then
        return 0
    end
elseif redis.call('GETRANGE', key, 0, #header - 1) ~= header then
    return 0
end
local tail = len > 0 and redis.call('GETRANGE', key, from, from + len - 1) or ''
if ARGV[4] ~= '' and redis.sha1hex(tail) ~= ARGV[4] then
    return 0
end
-- Each string that a script makes costs a look at all its bytes: the base is in none but its own.
local rest = ARGV[6] .. redis.call('GETRANGE', key, from + len, -1)
if ARGV[5] == '' and rest == '' then
    redis.call('DEL', key)
    return 1
end
redis.call('SET', key, ARGV[5], 'KEEPTTL')
if rest ~= '' then
    redis.call('APPEND', key, rest)
end
return 1
