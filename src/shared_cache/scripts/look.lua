-- look, version 1: reads one kind of a user's hash. In mode "lead" it takes the lease of the fetch if
-- there is no usable value and no fetch under way.
-- KEYS: the user's hash. ARGV: kind, mode (lead or peek), max age, newer than, token, lease, the token
-- of the lease that the caller waited for (or ''), TTL in ms. Other times are in microseconds.
local key, kind, token = KEYS[1], ARGV[1], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('HMGET', key, 'x', kind, kind .. 's', kind .. 'l', kind .. 'f')
local x, sealed, since = tonumber(held[1] or 0), held[2], tonumber(held[3] or 0)

-- A time after now is from a primary whose clock was ahead: the age is unknown, the lease of no use.
if sealed and since > x and since <= now and since > tonumber(ARGV[4])
  and now - since <= tonumber(ARGV[3]) then return {now, x, 'VALUE', sealed} end
local owner, ends, began = string.match(held[4] or '', '^(.-):(%d+):(%d+)$')
if owner and owner ~= token and tonumber(ends) > now and tonumber(began) <= now then
  return {now, x, 'BUSY', owner, tonumber(began), tonumber(ends) - now}
end
local waited = ARGV[7] .. ':'
if held[5] and string.sub(held[5], 1, #waited) == waited then
  return {now, x, 'FAILED', string.sub(held[5], #waited + 1)}
end
-- A nil ends the reply.
if ARGV[2] == 'peek' then return {now, x, 'NOTHING', sealed or nil, since} end

redis.call('HSET', key, kind .. 'l', string.format('%s:%.0f:%.0f', token, now + ARGV[6], now))
redis.call('HDEL', key, kind .. 'f')
if redis.call('PTTL', key) < tonumber(ARGV[8]) then redis.call('PEXPIRE', key, ARGV[8]) end
return {now, x, 'LEASED', now, sealed or nil, since}
