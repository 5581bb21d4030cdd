-- sync, version 1: begins an epoch where the logs may be incomplete. An epoch opens, so that calls are
-- granted, once a replica has watched the clock in it for as long as a lost call may count.
-- KEYS: state; log, turns and waits of each category. ARGV: those of clock.lua, whether the clock was set
-- back, the name of each category. Returns the time, the epoch, whether it is open, and of each category
-- the quota and the last cut, or nil.
local begins = run ~= epoch_run or (is_current and (is_back or ARGV[5] == '1'))
for i = 2, #KEYS, 3 do
  -- A log without this member was evicted. A call beyond the longest life was logged by another clock.
  if redis.call('ZADD', KEYS[i], 'inf', 'log') == 1 then begins = true end
  if is_watched and redis.call('ZREMRANGEBYSCORE', KEYS[i], now + 4100001, 9e15) > 0 then begins = true end
  redis.call('PEXPIRE', KEYS[i], 86400000)
end
if begins then
  epoch, judged = string.format('%s:%.0f', run, now), nil
  redis.call('HSET', state, 'epoch', epoch, 'run', run)
  redis.call('HDEL', state, 'open')
  for i = 2, #KEYS, 3 do
    redis.call('ZREMRANGEBYSCORE', KEYS[i], now + 4100001, 9e15)
    redis.call('DEL', KEYS[i + 1], KEYS[i + 2])
  end
end
redis.call('PEXPIRE', state, 86400000)
local reply = {now, epoch, judged and 1 or 0}
for i = 6, #ARGV do
  table.insert(reply, redis.call('HGET', state, 'quota:' .. ARGV[i]))
  table.insert(reply, redis.call('HGET', state, 'cut:' .. ARGV[i]))
end
return reply
