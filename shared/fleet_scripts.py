"""What it is to announce an engine, to reserve room on it, and to read what has changed: Lua that runs inside Redis. Pure.

Every writer marks the keys it changes in the same act, so a reader asks for what was marked after its last read and has
all of it: states, forecasts and reservations as they were at one instant, by one clock.

A reservation is made before its request is sent, and settled by the announcement whose state shows the request, in one act:
at no instant is a request counted twice, or not at all. Lens settles each request that it has heard of by its own name, so the
order in which they arrive does not matter, and nor does whether the router that sent them still lives. What lens never hears
of is released by its router, or expires.
"""

from collections.abc import Iterable

import msgspec

from shared.engine_state import DUE_INTERVALS, EngineState
from shared.names import (
    CHANGES_KEY,
    ENGINE_KEY_LIFETIME_S,
    ENGINES_KEY,
    RESERVATION_LIFETIME_S,
    engine_key,
    forecast_key,
    reserved_key,
)
from shared.wire import encode

MARKS_KEPT_S = 60
"""A reader that last read longer ago reads everything anew."""

MARK = f"""
local CHANGES = "{CHANGES_KEY}"
local function time_us()
  local time = redis.call("TIME")
  return time[1] * 1000000 + time[2]
end
-- Marks are for readers that are there now: they stay out of the append-only file. The first one, which stays, says by its
-- name that a reader who knows another is to begin anew.
local function mark(now_us, names)
  redis.set_repl(redis.REPL_REPLICA)
  local highest = redis.call("ZREVRANGE", CHANGES, 0, 0, "WITHSCORES")[2]
  if not highest then
    redis.call("ZADD", CHANGES, 0, string.format("life:%.0f", now_us))
  end
  local score = math.max(now_us, (highest or 0) + 1)
  for _, name in ipairs(names) do
    redis.call("ZADD", CHANGES, score, name)
  end
  redis.call("ZREMRANGEBYSCORE", CHANGES, "(0", now_us - {MARKS_KEPT_S * 1_000_000})
  redis.set_repl(redis.REPL_ALL)
end
"""
"""What a script begins with whose writes readers shall see: `mark(time_us(), names)`."""

_KEYS = f"""
local ENGINES = "{ENGINES_KEY}"
local ENGINE, FORECAST, RESERVED = "{engine_key("")}", "{forecast_key("")}", "{reserved_key("")}"
"""

_TOTALS = f"""
local function is_hash(key)
  local kind = redis.call("TYPE", key).ok
  return kind == "hash" or kind == "none"
end
-- Beside each dispatch, whose name has a colon, its hash holds how many there are and their prompt tokens, by when they are due.
local TOTALS = {{}}
for i = 1, {DUE_INTERVALS} do
  TOTALS[i], TOTALS[i + {DUE_INTERVALS}] = "requests#" .. i, "prompt_tokens#" .. i
end
local function made_of(value)
  local made_us, tokens, interval = string.match(value, "^(%d+):(%d+):(%d+)$")
  return tonumber(made_us), tonumber(tokens), tonumber(interval)
end
local function totals(key)
  -- Where there is something else than a hash, or than numbers in it, nothing is reserved: one key must not end a read of all.
  local values = redis.pcall("HMGET", key, unpack(TOTALS))
  local numbers = {{}}
  for i = 1, #TOTALS do
    numbers[i] = tonumber(values[i] or 0) or 0
  end
  return numbers
end
local function add(key, sign, tokens, interval)
  redis.call("HINCRBY", key, TOTALS[interval], sign)
  redis.call("HINCRBY", key, TOTALS[interval + {DUE_INTERVALS}], string.format("%.0f", sign * tokens))
end
"""

_RELEASE = """
local function release(engine, dispatch)
  local key = RESERVED .. engine
  local made = is_hash(key) and redis.call("HGET", key, dispatch)
  if not made then
    return false
  end
  redis.call("HDEL", key, dispatch)
  local _, tokens, interval = made_of(made)
  add(key, -1, tokens, interval)
  if redis.call("HLEN", key) == #TOTALS then
    redis.call("DEL", key)
  end
  return true
end
"""

ANNOUNCE = f"""{MARK}{_KEYS}{_TOTALS}
-- ARGV: engine, its state up to the time of announcement and from there on, the dispatches that the state settles.
local function settle(key, now_us)
  for i = 4, #ARGV do
    redis.call("HDEL", key, ARGV[i])
  end
  local fields = redis.call("HGETALL", key)
  local before, now, is_empty = {{}}, {{}}, true
  for i = 1, #TOTALS do
    now[i] = 0
  end
  for i = 1, #fields, 2 do
    local made_us, tokens, interval = made_of(fields[i + 1])
    -- One that was made later than now is from before the clock was put back.
    if made_us and math.abs(now_us - made_us) >= {RESERVATION_LIFETIME_S * 1_000_000} then
      redis.call("HDEL", key, fields[i])
    elseif made_us then
      is_empty = false
      now[interval] = now[interval] + 1
      now[interval + {DUE_INTERVALS}] = now[interval + {DUE_INTERVALS}] + tokens
    else
      before[fields[i]] = tonumber(fields[i + 1])
    end
  end
  if is_empty then
    return redis.call("DEL", key) == 1
  end
  local has_changed = false
  for i = 1, #TOTALS do
    has_changed = has_changed or before[TOTALS[i]] ~= now[i]
    redis.call("HSET", key, TOTALS[i], string.format("%.0f", now[i]))
  end
  return has_changed
end
local now_us = time_us()
local marked = {{ENGINE .. ARGV[1]}}
local state = ARGV[2] .. string.format("%.6f", now_us / 1000000) .. ARGV[3]
redis.set_repl(redis.REPL_REPLICA)
-- A Redis that is full refuses a script whose first write may take memory; this one does not, and what follows goes through.
local is_back = redis.call("EXPIRE", marked[1], {ENGINE_KEY_LIFETIME_S}) == 0
redis.call("SET", marked[1], state, "EX", {ENGINE_KEY_LIFETIME_S})
local reserved = RESERVED .. ARGV[1]
local is_usable = is_hash(reserved)
local has_settled = is_usable and settle(reserved, now_us)
redis.set_repl(redis.REPL_ALL)
redis.call("SADD", ENGINES, ARGV[1])
if is_back then
  -- Readers may know nothing of it.
  marked[#marked + 1] = FORECAST .. ARGV[1]
end
if is_back or has_settled then
  marked[#marked + 1] = reserved
end
mark(now_us, marked)
return not is_usable and reserved
"""
"""Write an engine's state, stamped with Redis TIME; see `announcement`. It lives in memory alone: a restart may forget it. Answers
with the key of its reservations where that holds something else, which is left as it is; otherwise with nothing."""

LEAVE = f"""{MARK}{_KEYS}
-- ARGV: engine.
redis.call("DEL", ENGINE .. ARGV[1], RESERVED .. ARGV[1])
redis.call("SREM", ENGINES, ARGV[1])
mark(time_us(), {{ENGINE .. ARGV[1], RESERVED .. ARGV[1]}})
"""
"""Take an engine out of the pool at once."""

RESERVE = f"""{MARK}{_KEYS}{_TOTALS}{_RELEASE}
-- ARGV: engine, dispatch, prompt tokens, the interval that it is due in, from 1; and engine and dispatch of another reservation that this one replaces.
local now_us = time_us()
local key = RESERVED .. ARGV[1]
if not is_hash(key) then
  return redis.error_reply("WRONGTYPE " .. key .. " holds something else than reservations")
end
redis.set_repl(redis.REPL_REPLICA)
-- It is new; but only with a first write that takes no memory does a Redis that is full let the others through.
redis.call("HDEL", key, ARGV[2])
local marked = {{key}}
if ARGV[5] and release(ARGV[5], ARGV[6]) then
  marked[2] = RESERVED .. ARGV[5]
end
if redis.call("EXISTS", key) == 0 then
  for i = 1, #TOTALS do
    redis.call("HSET", key, TOTALS[i], 0)
  end
end
redis.call("HSET", key, ARGV[2], string.format("%.0f:%d:%d", now_us, ARGV[3], ARGV[4]))
add(key, 1, ARGV[3], tonumber(ARGV[4]))
-- Longer than its reservations: while lens lives, it is lens that removes them, where readers see it.
redis.call("PEXPIRE", key, {(RESERVATION_LIFETIME_S + ENGINE_KEY_LIFETIME_S) * 1000})
mark(now_us, marked)
return cmsgpack.pack(totals(key))
"""
"""Reserve room for a dispatch, named `replica:number`, which must be new; answers with the engine's totals, this one included, in
MessagePack; where its key holds something else, with an error that names it."""

RELEASE = f"""{MARK}{_KEYS}{_TOTALS}{_RELEASE}
-- ARGV: engine, dispatch.
redis.set_repl(redis.REPL_REPLICA)
if release(ARGV[1], ARGV[2]) then
  mark(time_us(), {{RESERVED .. ARGV[1]}})
end
redis.set_repl(redis.REPL_ALL)
return ""
"""
"""Take back a reservation, if it is still there."""

CHANGED = f"""{MARK}{_KEYS}{_TOTALS}
-- ARGV: highest mark, life and time of the last read.
local now_us = time_us()
local life = redis.call("ZRANGE", CHANGES, 0, 0)[1] or ""
local highest = tonumber(redis.call("ZREVRANGE", CHANGES, 0, 0, "WITHSCORES")[2] or 0)
local known, asked_us = tonumber(ARGV[1]), tonumber(ARGV[3])
local is_whole = life ~= ARGV[2] or highest < known or asked_us < now_us - {MARKS_KEPT_S * 1_000_000}
local names, values = {{}}, {{}}
if not is_whole then
  names = redis.call("ZRANGEBYSCORE", CHANGES, "(" .. ARGV[1], "+inf")
else
  for _, engine in ipairs(redis.call("SMEMBERS", ENGINES)) do
    if redis.call("EXISTS", ENGINE .. engine) == 1 then
      for _, prefix in ipairs({{ENGINE, FORECAST, RESERVED}}) do
        names[#names + 1] = prefix .. engine
      end
    else
      -- It has gone without leaving; it adds itself if it comes back.
      redis.call("SREM", ENGINES, engine)
    end
  end
end
for i, name in ipairs(names) do
  if string.sub(name, 1, #RESERVED) == RESERVED then
    values[i] = totals(name)
  else
    local value = redis.pcall("GET", name)
    values[i] = type(value) == "string" and value -- as if there were none, where there is no text
  end
end
return cmsgpack.pack({{now_us, highest, life, is_whole, names, values}})
"""
"""What has changed since the last read, or everything where that cannot be told; in MessagePack, as `Changes`."""


class Changes(msgspec.Struct, frozen=True, array_like=True):
    """The answer of `CHANGED`."""

    now_us: int
    """Redis TIME."""
    highest: int
    life: str
    is_whole: bool
    """These are all engines that there are, not only what has changed."""
    keys: list[str]
    values: list[msgspec.Raw]
    """Of each key: text, false where there is none; of reservations, how many there are by the
    intervals of `DUE_EDGES_S`, then their prompt tokens."""


def announcement(state: EngineState, settled: Iterable[str] = ()) -> list[str | bytes]:
    """The arguments of `ANNOUNCE`.

    Args:
        state: its `announced_at_s` is filled in by Redis.
        settled: `replica:number` of dispatches that this state is the first to show, and of those that were refused.
    """
    # Within a JSON string the quotes would be escaped, so these are the field's.
    head, field, tail = encode(msgspec.structs.replace(state, announced_at_s=0.0)).partition(b'"announced_at_s":')
    return [state.engine, head + field, tail.removeprefix(b"0.0"), *settled]
