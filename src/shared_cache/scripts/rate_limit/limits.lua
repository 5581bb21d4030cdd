-- Follows clock.lua: whether calls are granted, and whether the user and the caller allow one. The score of
-- a call in a log is the time at which it leaves. KEYS and ARGV as take.lua.
local _, log, turns, waits, user_log, own_log = unpack(KEYS)
local call, category, limit, caller, place, own, waits_for_own, others = unpack(ARGV, 5)
if not is_current or is_back or not redis.call('ZSCORE', log, 'log') then return {now, 'EPOCH'} end
if not is_in_time then return {now, 'CLOCK'} end
if not judged then return {now, 'WARM'} end

local count
-- How long it takes until a log in which `most` calls may count has a place left behind `before` others.
local function opens_in(key, most, before)
  if is_watched then redis.call('ZREMRANGEBYSCORE', key, 0, judged) end
  count = redis.call('ZCOUNT', key, judged + 1, 9e15)
  local over = count + before - most
  if over < 0 then return 0 end
  local leaves = redis.call('ZRANGEBYSCORE', key, judged + 1, 9e15, 'WITHSCORES', 'LIMIT', over, 1)[2]
  -- A call that has not ended leaves no earlier than a window from now.
  return math.min(math.min(leaves or 9e15, now + 1010000) - judged, 1010000)
end
local function leave_line(places)
  for _, place in ipairs(places) do
    redis.call('ZREM', turns, place)
    redis.call('ZREM', waits, place)
  end
end
own = tonumber(own)
local wait = opens_in(user_log, 10, 0)
if wait > 0 then return {now, 'USER', wait} end
wait = waits_for_own == '1' and opens_in(own_log, own, 0) or 0
if wait > 0 then return {now, 'CALLER', wait} end
