"""What each key has taken, shared among prism's replicas twice a second: its limit is the fleet's, not a replica's.

A request never waits for this: each replica lets it in or not by what it knows, and what all have taken is added up in Redis.
So replicas may together let more in for a moment, at most a key's burst each; what is too much is owed, and waited for. While
Redis is away each replica keeps to the limit by itself.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NoReturn

import redis.asyncio
import redis.exceptions

from services.prism.rate_limits import RateLimits
from shared.names import rate_key

SHARE_S = 0.5

# Each key's times are in us of Redis TIME: when it is full again, and when that was written. One that was written later than
# now is from before the clock was put back: it owes what it owed then, not what the clock lacks besides.
# What is added never makes it last longer than that, so nothing is left behind.
_ADD = """
local now = redis.call('TIME')
local now_us = now[1] * 1000000 + now[2]
local owed = {}
for place, key in ipairs(KEYS) do
  local full_at_us, written_at_us = string.match(redis.call('GET', key) or '', '^(%d+):(%d+)$')
  local owed_us = 0
  if full_at_us then
    owed_us = math.max(full_at_us - math.max(written_at_us, now_us), 0)
  end
  owed_us = owed_us + ARGV[place]
  local value = string.format('%.0f:%.0f', now_us + owed_us, now_us)
  redis.call('SET', key, value, 'PX', math.ceil(owed_us / 1000) + 1)
  owed[place] = owed_us
end
return owed
"""


class RateSharing:
    """Adds what this replica has taken to what others have.

    Args:
        store: a client with time limits of its own; whoever made it closes it.
        clock: the one that the limits go by.
    """

    def __init__(
        self, store: redis.asyncio.Redis, limits: RateLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._add = store.register_script(_ADD)
        self._limits = limits
        self._clock = clock

    async def run(self) -> NoReturn:
        """Share for ever."""
        while True:
            await asyncio.sleep(SHARE_S)
            await self.share()

    async def share(self) -> None:
        """Say what has been taken since last time, and take over what all have; what Redis does not hear is forgotten."""
        taken_s = self._limits.taken()
        if not taken_s:
            return
        try:
            owed_us = await self._add(
                keys=[rate_key(key) for key in taken_s], args=[round(seconds * 1e6) for seconds in taken_s.values()]
            )
        except (redis.exceptions.RedisError, OSError):
            return  # prism's own reads of the fleet say that it is away
        now_s = self._clock()
        for key, key_owed_us in zip(taken_s, owed_us, strict=True):
            self._limits.owes(key, key_owed_us / 1e6, now_s)
