-- release, version 1: ends a lease without a value, and leaves a failure for those who waited for it.
-- KEYS: the user's hash. ARGV: kind, token, reason of the failure (or ''), 1 to remove the profile.
local key, kind, token = KEYS[1], ARGV[1], ARGV[2]
local owner = string.match(redis.call('HGET', key, kind .. 'l') or '', '^(.-):%d+:%d+$')
if owner ~= token then return 'GONE' end
-- Before the lease is removed: a hash without fields is deleted, and its TTL with it.
if ARGV[3] ~= '' then redis.call('HSET', key, kind .. 'f', token .. ':' .. ARGV[3]) end
redis.call('HDEL', key, kind .. 'l')
if ARGV[4] == '1' then redis.call('HDEL', key, 'u', 'us') end
return 'OK'
