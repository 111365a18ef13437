-- Entries of several streams, up to a number of entries and of bytes, all together.
--
-- KEYS: the streams
-- ARGV: entries at most | bytes of payloads at which to stop; one entry may exceed them | the field
--       that is the payload | for each stream: from which ID on (with a bracket: after it), and the
--       ID of an entry that must still be there, or nothing
-- Gives: for each stream: its IDs and payloads by turns; 0 if the entry is not there
local STEP = 64
local left, bytes, field = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

local function payload(fields)
    for at = 1, #fields, 2 do
        if fields[at] == field then
            return fields[at + 1]
        end
    end
    return ''
end

local full, taken = false, 0
local function read(key, from)
    local got = {}
    while not full do
        local step = math.min(STEP, left)
        local entries = step > 0 and redis.call('XRANGE', key, from, '+', 'COUNT', step) or {}
        for _, entry in ipairs(entries) do
            local bytes_of = payload(entry[2])
            bytes = bytes - #bytes_of
            if bytes < 0 and taken > 0 then
                full = true
                break
            end
            got[#got + 1], got[#got + 2] = entry[1], bytes_of
            left, taken, from = left - 1, taken + 1, '(' .. entry[1]
        end
        full = full or left == 0
        if #entries < step or step == 0 then
            break
        end
    end
    return got
end

local answer = {}
for nth, key in ipairs(KEYS) do
    local from, anchor = ARGV[2 + 2 * nth], ARGV[3 + 2 * nth]
    if anchor ~= '' and #redis.call('XRANGE', key, anchor, anchor) == 0 then
        answer[nth] = 0
    else
        answer[nth] = read(key, from)
    end
end
return answer
