-- Begins each script that writes a log: whether its caller knows the epoch and the clock. Times are in
-- microseconds. KEYS: state. ARGV: epoch, earliest, latest, whether the clock was watched.
local time = redis.call('TIME')
local now, state = time[1] * 1000000 + time[2], KEYS[1]
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local epoch, epoch_run, open = unpack(redis.call('HMGET', state, 'epoch', 'run', 'open'))
local is_current = ARGV[1] == epoch and run == epoch_run
local earliest, latest, is_watched = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1'
local is_back = is_watched and now < tonumber(open or 0)
local is_in_time = now >= earliest and now <= latest and (is_watched or now >= tonumber(open or 0))
is_watched = is_watched and is_current and is_in_time and not is_back
-- A time that has passed for certain, whatever the clock did. There is none until the epoch opens.
local judged = tonumber(open)
if is_watched then
  judged = now - (latest - earliest)
  redis.call('HSET', state, 'open', judged)
end
