-- Which life of which server this is: another run, or another line of replication, is another one.
local replication = redis.call('INFO', 'replication')
local replid = string.match(replication, 'master_replid:(%w+)')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local incarnation = string.sub(redis.sha1hex(run .. replid), 1, 16)
