-- Gives up what a reader has, at once instead of when its time is over.
--
-- KEYS: the readers | the leases
-- ARGV: this reader's token
redis.call('ZREM', KEYS[1], ARGV[1])
for at = 2, #KEYS do
    if redis.call('GET', KEYS[at]) == ARGV[1] then
        redis.call('DEL', KEYS[at])
    end
end
return 0
