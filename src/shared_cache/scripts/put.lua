-- put, version 1: stores what was fetched under a lease, and ends the lease. Refuses it if another
-- caller took the lease over, or if the user was invalidated after the lease began.
-- KEYS: the user's hash. ARGV: kind, token, sealed value, TTL in ms, 1 if the user does not exist.
local key, kind = KEYS[1], ARGV[1]
local held = redis.call('HMGET', key, 'x', kind .. 'l')
local owner, since = string.match(held[2] or '', '^(.-):%d+:(%d+)$')
if owner ~= ARGV[2] or tonumber(since) <= tonumber(held[1] or 0) then return 'GONE' end
redis.call('HSET', key, kind, ARGV[3], kind .. 's', since)
redis.call('HDEL', key, kind .. 'l', kind .. 'f')
if ARGV[5] == '1' then redis.call('HDEL', key, 'g', 'gs') end
if redis.call('PTTL', key) < tonumber(ARGV[4]) then redis.call('PEXPIRE', key, ARGV[4]) end
return 'OK'
