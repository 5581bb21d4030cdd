-- end, version 1: logs the end of a call, or removes one that was not made.
-- KEYS: state, log, the log of the user, that of the caller. ARGV: those of clock.lua, call, how long it
-- counts from now on (0: it was not made), the caller's own limit (0: none). Returns the time.
local call, counts, own = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
-- Being late does no harm. By a clock that was set back, the call would leave too early.
if not is_current or now < earliest or now < tonumber(open or 0) and ARGV[4] == '0' then return {now} end
for i = 2, own > 0 and 4 or 3 do
  if counts == 0 then
    redis.call('ZREM', KEYS[i], call)
  else
    redis.call('ZADD', KEYS[i], now + counts, call)
    if i > 2 then redis.call('PEXPIRE', KEYS[i], 60000) end
  end
end
-- A call beyond the caller's own limit leaves as late as if it had waited.
local over = own > 0 and redis.call('ZCOUNT', KEYS[4], now + 1, 9e15) - own or 0
if counts > 0 and over > 0 then
  redis.call('ZADD', KEYS[4], now + counts + 1010000 * math.ceil(over / own), call)
end
return {now}
