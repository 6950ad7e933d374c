"""The Lua that runs inside Redis: leases by its clock alone, and writes that only the holder of a lease can make.

A partition is one hash: `holder` and `epoch` say whose it is, `until_ms` until when, `stream` and `sequence` how far its
telemetry is in the models. Epochs only grow; a write names holder and epoch, and is refused when either has changed.
"""

from shared.fleet_scripts import MARK
from shared.names import forecast_key

BEAT = """
-- KEYS: the members. ARGV: name, holder, lease in ms, key prefix of partitions, their number, then partition and epoch of each held.
local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call("ZADD", KEYS[1], now_ms, ARGV[1])
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now_ms - ARGV[3])
for i = 6, #ARGV, 2 do
  local key = ARGV[4] .. ARGV[i]
  local lease = redis.call("HMGET", key, "holder", "epoch")
  if lease[1] == ARGV[2] and lease[2] == ARGV[i + 1] then
    redis.call("HSET", key, "until_ms", now_ms + ARGV[3])
  end
end
local claims = {}
for partition = 0, ARGV[5] - 1 do
  local lease = redis.call("HMGET", ARGV[4] .. partition, "holder", "epoch", "until_ms")
  claims[#claims + 1] = {lease[1] or "", tonumber(lease[2] or 0), (lease[3] or 0) - now_ms}
end
return {time, redis.call("ZRANGE", KEYS[1], 0, -1), claims}
"""

TAKE = """
-- ARGV: name, holder, lease in ms, key prefix of partitions, then partition and least epoch of each wanted.
local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local granted = {}
for i = 5, #ARGV, 2 do
  local key = ARGV[4] .. ARGV[i]
  local lease = redis.call("HMGET", key, "holder", "epoch", "until_ms", "stream", "sequence")
  local holder = lease[1] or ""
  local own = string.sub(holder, 1, #ARGV[1] + 1) == ARGV[1] .. "#"
  if holder == "" or own or tonumber(lease[3] or 0) <= now_ms then
    local epoch = math.max(lease[2] or 0, ARGV[i + 1]) + 1
    redis.call("HSET", key, "holder", ARGV[2], "epoch", epoch, "until_ms", now_ms + ARGV[3])
    granted[#granted + 1] = {tonumber(ARGV[i]), epoch, lease[4] or "", lease[5] or "0"}
  end
end
return granted
"""

_FORECAST = f"""
local FORECAST = "{forecast_key("")}"
"""

WRITE = (
    MARK
    + _FORECAST
    + """
-- ARGV: msgpack of the portions; key of requests and of what is set aside; the most entries of steps, requests, set aside.
local function append(key, most, entry)
  redis.call("XADD", key, "MAXLEN", "~", most, "*", unpack(entry))
end
local refused = {}
for _, portion in ipairs(cmsgpack.unpack(ARGV[1])) do
  local partition, key, holder, epoch, values, kept_aside, stream, sequence, steps, requests, set_aside, release = unpack(portion)
  local lease = redis.call("HMGET", key, "holder", "epoch", "stream", "sequence")
  if lease[1] ~= holder or lease[2] ~= epoch then
    local is_taken = lease[2] and lease[1] ~= holder
    refused[#refused + 1] = {partition, tonumber(epoch), is_taken and 1 or 0}
  else
    for i = 1, #kept_aside, 2 do
      -- Without REPLACE: where this comes again, the model has been overwritten already.
      redis.call("COPY", kept_aside[i], kept_aside[i + 1])
    end
    if stream == "" then
      -- Forecasts alone come fifty times a second: too much for the append-only file, which has them of each save.
      redis.set_repl(redis.REPL_REPLICA)
    end
    for i = 1, #values, 2 do
      redis.call("SET", values[i], values[i + 1])
    end
    redis.set_repl(redis.REPL_ALL)
    if stream ~= "" then
      -- Routers read the forecasts of each save: fifty a second would be more than what they change is worth.
      local marked = {}
      for i = 1, #values, 2 do
        if string.sub(values[i], 1, #FORECAST) == FORECAST then
          marked[#marked + 1] = values[i]
        end
      end
      mark(time_us(), marked)
      -- A save whose answer was lost is sent again; its series are in their streams already.
      if lease[3] ~= stream or tonumber(lease[4]) < tonumber(sequence) then
        for _, entry in ipairs(steps) do append(entry[1], ARGV[4], entry[2]) end
        for _, entry in ipairs(requests) do append(ARGV[2], ARGV[5], entry) end
        for _, entry in ipairs(set_aside) do append(ARGV[3], ARGV[6], entry) end
      end
      redis.call("HSET", key, "stream", stream, "sequence", sequence)
    end
    if release then
      redis.call("HSET", key, "holder", "", "until_ms", 0)
    end
  end
end
return {redis.call("TIME"), refused}
"""
)
