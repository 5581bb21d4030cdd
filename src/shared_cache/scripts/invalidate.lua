-- invalidate, version 1: notes the time, ends all leases, and with mode "erase" removes all values.
-- KEYS: the user's hash. ARGV: mode (expire or erase), TTL in ms. Returns the noted time.
local key = KEYS[1]
local time = redis.call('TIME')
local held = redis.call('HMGET', key, 'x', 'us', 'gs', 'ul', 'gl')
local x = math.max(time[1] * 1000000 + time[2], tonumber(held[1] or 0) + 1)
-- Not before any value or lease, also if this server's clock is behind that of the last primary.
for i = 2, 5 do x = math.max(x, tonumber(string.match(held[i] or '', '(%d+)$') or 0)) end
redis.call('HSET', key, 'x', string.format('%.0f', x))
redis.call('HDEL', key, 'ul', 'gl', 'uf', 'gf')
if ARGV[1] == 'erase' then redis.call('HDEL', key, 'u', 'us', 'g', 'gs') end
if redis.call('PTTL', key) < tonumber(ARGV[2]) then redis.call('PEXPIRE', key, ARGV[2]) end
return x
