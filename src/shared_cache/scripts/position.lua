-- position, version 1: where the stream of events ends.
-- KEYS: the counter, the stream. Returns the time in microseconds, the number of the last event, the id
-- of the last event that is kept (or 0-0), and the server's run id ('' where INFO does not show it).
local time = redis.call('TIME')
local number = tonumber(redis.call('GET', KEYS[1]) or 0)
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', '1')[1]
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)')
return {time[1] * 1000000 + time[2], number, last and last[1] or '0-0', run or ''}
