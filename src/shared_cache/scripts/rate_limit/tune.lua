-- tune, version 1: tells all replicas the quota of a category, or that Cognito throttled a call of it.
-- KEYS: state. ARGV: category, quota (0: not known), whether a call was throttled. Returns the time.
local time = redis.call('TIME')
local now, state, cut = time[1] * 1000000 + time[2], KEYS[1], 'cut:' .. ARGV[1]
if ARGV[2] ~= '0' then redis.call('HSET', state, 'quota:' .. ARGV[1], ARGV[2]) end
-- Halves the factor, in millionths, once a second at most. A quarter returns every second. A time after now
-- is that of another clock.
local at, factor = string.match(redis.call('HGET', state, cut) or '0:1000000', '(.+):(.+)')
local since = now >= tonumber(at) and now - at or 9e15
if ARGV[3] == '1' and since >= 1000000 then
  factor = math.floor(math.min(1000000, factor + math.floor(since / 4)) / 2)
  redis.call('HSET', state, cut, string.format('%.0f:%.0f', now, factor))
end
redis.call('PEXPIRE', state, 86400000)
return {now}
