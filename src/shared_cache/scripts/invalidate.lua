-- invalidate, version 2: notes the time, ends all leases, and with mode "erase" removes all values.
-- KEYS: the user's hash. ARGV: mode (expire or erase), TTL in ms, the least age in microseconds of what
-- becomes invalid (0 for all). Returns the noted time.
local key, age = KEYS[1], tonumber(ARGV[3])
local time = redis.call('TIME')
local held = redis.call('HMGET', key, 'x', 'us', 'gs', 'ul', 'gl')
local x = math.max(time[1] * 1000000 + time[2] - age, tonumber(held[1] or 0) + (age == 0 and 1 or 0))
-- Not before any value or lease, also if this server's clock is behind that of the last primary.
if age == 0 then
  for i = 2, 5 do x = math.max(x, tonumber(string.match(held[i] or '', '(%d+)$') or 0)) end
end
redis.call('HSET', key, 'x', string.format('%.0f', x))
redis.call('HDEL', key, 'ul', 'gl', 'uf', 'gf')
if ARGV[1] == 'erase' then redis.call('HDEL', key, 'u', 'us', 'g', 'gs') end
if redis.call('PTTL', key) < tonumber(ARGV[2]) then redis.call('PEXPIRE', key, ARGV[2]) end
return x
