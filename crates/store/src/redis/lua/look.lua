-- Finds out where a bucket stands, and makes or adopts its stand. One moment: no other writer is
-- between reading and writing. The fields of a stand are drawn in words.rs.
--
-- KEYS: the stand
-- ARGV: head of a stand | 1 in a cluster, where buckets move | a random epoch | a random turn, or
--       nothing | incarnations of all primaries | 1 if the rule `seen` holds
-- Gives: what was done | the stand
local head, seen = ARGV[1], ARGV[5]
local clustered = ARGV[2] == '1'
local node = clustered and redis.call('CLUSTER', 'MYID') or string.rep('0', 40)
local stand = redis.call('GET', KEYS[1])

local function write(epoch, turn, began)
    local fields = { head, epoch, incarnation, turn, node, replid, began, seen }
    stand = table.concat(fields)
    redis.call('SET', KEYS[1], stand)
end

local function begin()
    local now = redis.call('TIME')
    write(ARGV[3], string.rep('0', 16), string.format('%016x', now[1] * 1000000 + now[2]))
    return { 'new', stand }
end

if not stand then
    return begin()
end
if string.sub(stand, 1, 8) ~= head then
    return { 'format', stand }
end

local epoch, turn = string.sub(stand, 9, 24), string.sub(stand, 41, 56)
local began = string.sub(stand, 137, 152)
local on_record = false
for at = 153, #stand, 16 do
    on_record = on_record or string.sub(stand, at, at + 15) == incarnation
end
local here = string.sub(stand, 57, 96) == node
local known = string.sub(stand, 25, 40) == incarnation
local promoted = string.match(replication, 'master_replid2:(%w+)') == string.sub(stand, 97, 136)

if known and here then
    if ARGV[4] == '' then
        return { 'same', stand }
    end
    write(epoch, ARGV[4], began)
    return { 'turned', stand }
end
if not clustered or here or promoted or on_record or ARGV[6] == '0' then
    write(epoch, turn, began)
    return { 'adopted', stand }
end
return begin()
