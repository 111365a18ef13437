-- Where the streams of a log begin and end, and which log it is. What was seen last is written down
-- beside them, so that what was deleted in between is noticed.
--
-- KEYS: the record of the log | its streams
-- ARGV: a random number, the log's if it is a new one
-- Gives: the log's number | for each stream: the first ID that a reader may begin at (0-0: nothing
--        was ever deleted), the last ID it ever had, the first ID that is left or nothing
local function parts(id)
    local ms, number = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(number)
end

local function is_less(one, other)
    local ms, number = parts(one)
    local other_ms, other_number = parts(other)
    return ms < other_ms or (ms == other_ms and number < other_number)
end

local function after(id)
    local ms, number = parts(id)
    return string.format('%.0f-%.0f', ms, number + 1)
end

-- `removed` is how many entries were deleted or trimmed; servers before 7.0 do not tell it.
local function see(key)
    if redis.call('EXISTS', key) == 0 then
        return { last = '0-0', first = '', removed = '0' }
    end
    local told, info = {}, redis.call('XINFO', 'STREAM', key)
    for at = 1, #info, 2 do
        told[info[at]] = info[at + 1]
    end
    local added, removed = told['entries-added'], '-'
    if added then
        removed = string.format('%.0f', added - told['length'])
    end
    local first = told['first-entry']
    return {
        last = told['last-generated-id'],
        first = first and first[1] or '',
        removed = removed,
    }
end

local function left(now)
    return now.first ~= '' and now.first or after(now.last)
end

-- A stream that nobody has looked at.
local function begin(now)
    local whole = now.last == '0-0' or now.removed == '0'
    return whole and '0-0' or left(now)
end

-- From where it is whole; nothing if it cannot be the stream that was seen before.
local function go_on(now, old)
    if is_less(now.last, old.last) then
        return nil
    end
    if now.removed == '-' or old.removed == '-' then
        -- What comes first after a look at an empty stream counts as its next entry.
        local kept = old.first == '' or now.first == old.first
        return kept and old.from or left(now)
    end
    if tonumber(now.removed) < tonumber(old.removed) then
        return nil
    end
    if now.removed ~= old.removed then
        return left(now)
    end
    if old.first ~= '' and now.first ~= old.first then
        return nil
    end
    return old.from
end

local number = redis.call('HGET', KEYS[1], 'number')
local seen, same = {}, number and true or false
for at = 2, #KEYS do
    local now = see(KEYS[at])
    local line = redis.call('HGET', KEYS[1], KEYS[at])
    if line then
        local from, last, first, removed = string.match(line, '^(%S+) (%S+) (%S*) (%S+)$')
        now.line = line
        now.from = go_on(now, { from = from, last = last, first = first, removed = removed })
        same = same and now.from
    else
        now.from = begin(now)
    end
    seen[at] = now
end
if not same then
    number = ARGV[1]
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'number', number)
end
local answer = { number }
for at = 2, #KEYS do
    local now = seen[at]
    if not same then
        now.from = begin(now)
    end
    local line = now.from .. ' ' .. now.last .. ' ' .. now.first .. ' ' .. now.removed
    if line ~= now.line or not same then
        redis.call('HSET', KEYS[1], KEYS[at], line)
    end
    answer[#answer + 1] = { now.from, now.last, now.first }
end
return answer
