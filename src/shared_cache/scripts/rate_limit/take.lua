-- take, version 1: grants a call to Cognito, or says how soon the next is free. Who waits has a turn, by
-- start-time fair queueing, but no time is booked.
-- KEYS: state, log, turns, waits, the logs of the user and of the caller. ARGV: those of clock.lua, call,
-- category, limit, caller ('' for background), place in the line, own limit of the caller (0: none),
-- whether the call waits for that, whether others wait behind it.
local is_background, next_field, turn_field = caller == '', 'next:' .. category, 'turn:' .. category
local own_field = turn_field .. ':' .. caller
local held = redis.call('HMGET', state, 'cut:' .. category, next_field, turn_field, own_field)
local at, factor = string.match(held[1] or '0:1000000', '(.+):(.+)')
factor = now >= tonumber(at) and math.min(1000000, factor + math.floor((now - at) / 4)) or 1000000
local rate = math.max(1, math.floor(limit * factor / 1000000))
local step = math.floor(1000000 / rate)
if is_background then rate = math.max(1, math.floor(rate / 2)) end
leave_line(redis.call('ZRANGEBYSCORE', waits, 0, now))
local turn = tonumber(redis.call('ZSCORE', turns, place) or math.max(held[3] or 0, held[4] or 0))
local before = redis.call('ZCOUNT', turns, 0, is_background and 9e15 or '(' .. turn)
local paced = tonumber(held[2] or 0)
if paced > now + step then paced = now end -- It is by another clock.
wait = math.max(opens_in(log, rate, before), paced + before * step + (is_background and 125000 or 0) - now)
if wait > 0 then
  local is_new = not is_background and redis.call('ZADD', turns, turn, place) == 1
  if is_new then redis.call('HSET', state, own_field, turn + 1) end
  if not is_background then redis.call('ZADD', waits, now + wait + 50000, place) end
  if now - judged > 1000000 then return {now, 'WARM'} end -- Nobody watches the clock.
  return {now, 'FULL', wait, redis.call('ZCARD', turns), count}
end
for i, key in ipairs({log, user_log, own > 0 and own_log or nil}) do
  redis.call('ZADD', key, now + 4100000, call)
  if i > 1 then redis.call('PEXPIRE', key, 60000) end
end
leave_line({place})
local line = redis.call('ZCARD', turns)
local saved = (others == '1' or line > 0) and math.min(250000, math.max(20000, step)) or 250000
redis.call('HSET', state, next_field, math.max(paced, now - saved) + step)
if not is_background then
  redis.call('HSET', state, turn_field, math.max(held[3] or 0, turn))
  redis.call('HSET', state, own_field, math.max(held[4] or 0, turn + 1))
end
return {now, 'GRANTED', line, count + 1}
