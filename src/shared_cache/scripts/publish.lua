-- publish, version 1: appends an event with the next number to the stream.
-- KEYS: the counter, the stream. ARGV: sealed event, time to keep events in microseconds, the most
-- events to keep. Returns the number of the event, and its id.
local time = redis.call('TIME')
local oldest = math.max(0, math.floor((time[1] * 1000000 + time[2] - ARGV[2]) / 1000))
local number = redis.call('INCR', KEYS[1])
local id = redis.call('XADD', KEYS[2], 'MINID', string.format('%.0f', oldest), '*',
  'n', string.format('%.0f', number), 'e', ARGV[1])
redis.call('XTRIM', KEYS[2], 'MAXLEN', '~', ARGV[3])
redis.call('PEXPIRE', KEYS[1], '86400000')
-- The stream expires with its last event, so that no event is kept longer if no next one comes.
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', math.ceil(ARGV[2] / 1000)))
return {number, id}
