-- Shares partitions out among the readers of a group: says that this one lives, gives up what is
-- above its share, takes what is free up to it.
--
-- KEYS: the readers, with the milliseconds at which they were last heard | the leases
-- ARGV: this reader's token | how long it counts as alive, in milliseconds
-- Gives: the numbers of the partitions that are its own
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local token, alive = ARGV[1], tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now, token)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - alive)
redis.call('PEXPIRE', KEYS[1], alive)

local readers = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(readers)
local count, share = #KEYS - 1, 0
for nth, reader in ipairs(readers) do
    if reader == token then
        share = math.floor(count / #readers)
        if nth <= count % #readers then
            share = share + 1
        end
    end
end

local owned, free = {}, {}
for at = 2, #KEYS do
    local owner = redis.call('GET', KEYS[at])
    if owner == token and #owned < share then
        redis.call('PEXPIRE', KEYS[at], alive)
        owned[#owned + 1] = at - 2
    elseif owner == token then
        redis.call('DEL', KEYS[at])
    elseif not owner then
        free[#free + 1] = at
    end
end
for _, at in ipairs(free) do
    if #owned < share then
        redis.call('SET', KEYS[at], token, 'NX', 'PX', alive)
        owned[#owned + 1] = at - 2
    end
end
return owned
