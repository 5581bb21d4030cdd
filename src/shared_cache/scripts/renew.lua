-- renew, version 1: extends a lease that nobody took over, even if it has run out.
-- KEYS: the user's hash. ARGV: kind, token, lease in microseconds.
local field = ARGV[1] .. 'l'
local owner, since = string.match(redis.call('HGET', KEYS[1], field) or '', '^(.-):%d+:(%d+)$')
if owner ~= ARGV[2] then return 'GONE' end
local time = redis.call('TIME')
local ends = time[1] * 1000000 + time[2] + ARGV[3]
redis.call('HSET', KEYS[1], field, string.format('%s:%.0f:%s', owner, ends, since))
return 'OK'
