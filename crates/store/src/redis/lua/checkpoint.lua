-- Writes down how far a bucket has everything, if it still stands where the appends were
-- acknowledged. Takes the larger of what is there and what is said; numbers are hex of fixed width,
-- so that they compare as text.
--
-- KEYS: the stand | the set of spaces | for each space: its summary, its marks
-- ARGV: epoch | incarnation of the node | turn | incarnations of all primaries, or '-' to leave them
--       | rules that hold, of 'e' (epoch) and 'i' (inc)
--       | for each space: its digest | number of markers, then these | number of marks, then for
--         each: field, offset, freshness
-- Gives: 1 if it was done | the incarnation of the node
local stand = redis.call('GET', KEYS[1])
if not stand then
    return { 0, incarnation }
end
if string.find(ARGV[5], 'e') and string.sub(stand, 9, 24) ~= ARGV[1] then
    return { 0, incarnation }
end
if string.find(ARGV[5], 'i') then
    local there, turn = string.sub(stand, 25, 40), string.sub(stand, 41, 56)
    if there ~= ARGV[2] or turn ~= ARGV[3] or incarnation ~= ARGV[2] then
        return { 0, incarnation }
    end
end
if ARGV[4] ~= '-' and string.sub(stand, 153) ~= ARGV[4] then
    redis.call('SET', KEYS[1], string.sub(stand, 1, 152) .. ARGV[4])
end

local at, nothing = 6, string.rep('-', 16)
local function take()
    at = at + 1
    return ARGV[at - 1]
end

for key = 3, #KEYS, 2 do
    redis.call('SADD', KEYS[2], take())
    local marker = string.sub(redis.call('GET', KEYS[key]) or nothing, 1, 16)
    for _ = 1, tonumber(take()) do
        local word = take()
        local what, instant = string.sub(word, 1, 1), string.sub(word, 2)
        if what == 'w' then
            marker = nothing
        elseif what == 's' or marker == nothing then
            marker = instant
        end
    end
    for _ = 1, tonumber(take()) do
        local field, offset, fresh = take(), take(), take()
        local old = redis.call('HGET', KEYS[key + 1], field)
        if old then
            local old_offset, old_fresh = string.sub(old, 1, 16), string.sub(old, 17, 32)
            offset = old_offset > offset and old_offset or offset
            fresh = old_fresh > fresh and old_fresh or fresh
        end
        if old ~= offset .. fresh then
            redis.call('HSET', KEYS[key + 1], field, offset .. fresh)
        end
    end
    local least = nothing
    for _, mark in ipairs(redis.call('HVALS', KEYS[key + 1])) do
        local fresh = string.sub(mark, 17, 32)
        if least == nothing or fresh < least then
            least = fresh
        end
    end
    redis.call('SET', KEYS[key], marker .. least)
end
return { 1, incarnation }
