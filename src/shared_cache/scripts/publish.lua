-- publish, version 2: appends an event with the next number to the stream.
-- KEYS: the counter, the stream. ARGV: sealed event, time to keep events in microseconds, the most
-- events to keep, time for which each is needed in microseconds. Returns the number of the event, its
-- id, and how many were removed that may still be needed, because there were too many.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function before(age) return string.format('%.0f', math.max(0, math.floor((now - age) / 1000))) end
local number = redis.call('INCR', KEYS[1])
local id = redis.call('XADD', KEYS[2], 'MINID', before(ARGV[2]), '*',
  'n', string.format('%.0f', number), 'e', ARGV[1])
local removed = redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', ARGV[3])
-- All that was removed is older than what is left.
if removed > 0 and redis.call('XREVRANGE', KEYS[2], before(ARGV[4]), '-', 'COUNT', '1')[1] then removed = 0 end
redis.call('PEXPIRE', KEYS[1], '86400000')
-- The stream expires with its last event, so that no event is kept longer if no next one comes.
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', math.ceil(ARGV[2] / 1000)))
return {number, id, removed}
