"""Reads whole sets of cached prefixes from Redis, beside the requests: none of them ever waits for it."""

import asyncio

import redis.asyncio
import redis.exceptions
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.prism.cached_prefixes import CachedPrefixes
from shared.names import prefixes_key

log = structlog.get_logger()

LOOK_S = 0.1
"""Between two looks whether a mirror is behind."""
AWAY_S = 1.0
"""Before the next try where Redis is away."""
REDIS_TIMEOUT_S = 1.0
PART_BLOCKS = 512
"""Read at once, so that requests need not wait for the parsing of more."""


class PrefixReader:
    """Brings mirrors up to date that have missed changes."""

    def __init__(self, redis_url: str, prefixes: CachedPrefixes) -> None:
        self._redis = redis.asyncio.from_url(
            redis_url,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )
        self._prefixes = prefixes

    async def run(self) -> None:
        """For ever: read what is behind, one engine after the other."""
        while True:
            wait_s = LOOK_S
            try:
                await self._catch_up()
            except (redis.exceptions.RedisError, OSError) as error:
                log.debug("cached prefixes not read", problem=str(error))
                wait_s = AWAY_S
            await asyncio.sleep(wait_s)

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()

    async def _catch_up(self) -> None:
        for engine, behind in tuple(self._prefixes.behind.items()):
            # What changes while it is read in parts has been told by a later state than `behind`, and is applied on top.
            blocks = [block async for block in self._redis.sscan_iter(prefixes_key(engine), count=PART_BLOCKS)]
            self._prefixes.replace(engine, behind, blocks)
