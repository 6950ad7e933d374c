"""API keys from Redis, read through: each is asked for again after some seconds, and served as last read while Redis is away."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection

import msgspec
import redis.asyncio
import redis.exceptions
import structlog

from services.prism.grants import Grant, parse_grant
from shared.errors import Unavailable
from shared.lifecycle import Readiness
from shared.names import API_KEYS_KEY

log = structlog.get_logger()

FRESH_S = 5.0
"""For so long what is known of a key is not asked for again, so long may a withdrawn key still work."""
MOST_KNOWN = 10_000
MOST_UNKNOWN = 10_000
"""Kept apart: guesses at keys must not drive out the keys."""
RETRY_S = 1.0
"""After a failure requests do not wait for Redis again for so long."""
PART = "keys-redis"


class _Known(msgspec.Struct, frozen=True):
    grant: Grant | None
    read_at_s: float


class KeyStore:
    """Grants by digest, from the hash `API_KEYS_KEY`.

    Args:
        store: a client with time limits of its own; whoever made it closes it.
        slo_classes: those that a grant may name.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        store: redis.asyncio.Redis,
        slo_classes: Collection[str],
        readiness: Readiness,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = store
        self._slo_classes = slo_classes
        self._readiness = readiness
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._unknown: OrderedDict[str, _Known] = OrderedDict()
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._away_until_s = 0.0

    async def find(self, digest: str) -> Grant | None:
        """What the key of this digest grants; None where there is none.

        Raises:
            Unavailable: Redis is away, and has never been asked for this key.
        """
        seen = self._seen(digest)
        if seen is None or self._clock() - seen.read_at_s >= FRESH_S:
            await self._read(digest)
            seen = self._seen(digest)
        if seen is None:
            raise Unavailable("API keys cannot be checked now", code="keys_unavailable", retry_after_s=RETRY_S)
        return seen.grant

    def _seen(self, digest: str) -> _Known | None:
        return self._known.get(digest) or self._unknown.get(digest)

    async def _read(self, digest: str) -> None:
        """Ask Redis once, however many requests want to know; a client that leaves does not end it for the others."""
        if self._clock() < self._away_until_s:
            return
        reading = self._reading.get(digest)
        if reading is None:
            reading = self._reading[digest] = asyncio.create_task(self._refresh(digest))
            reading.add_done_callback(lambda _: self._reading.pop(digest))
        await asyncio.shield(reading)

    async def _refresh(self, digest: str) -> None:
        try:
            value = await self._redis.hget(API_KEYS_KEY, digest)
        except (redis.exceptions.RedisError, OSError) as error:
            self._away_until_s = self._clock() + RETRY_S
            problem = str(error) or type(error).__name__
            self._readiness.lacks(PART, f"{problem}; the keys are as last read")
            log.warning("redis is away; the keys are as last read", problem=problem)
            return
        self._readiness.has(PART)
        self._take(digest, value)

    def _take(self, digest: str, value: bytes | str | None) -> None:
        grant = self._parsed(digest, value)
        here, there = (self._unknown, self._known) if grant is None else (self._known, self._unknown)
        there.pop(digest, None)
        here[digest] = _Known(grant, self._clock())
        here.move_to_end(digest)
        if len(here) > (MOST_UNKNOWN if grant is None else MOST_KNOWN):
            here.popitem(last=False)

    def _parsed(self, digest: str, value: bytes | str | None) -> Grant | None:
        """The grant as it stands, else as it last was readable; one that never was grants nothing."""
        if value is None:
            return None
        try:
            return parse_grant(value, self._slo_classes)
        except ValueError as error:
            log.warning("a key in redis is not readable; it is as last read", key=f"{digest[:8]}…", problem=str(error))
            known = self._known.get(digest)
            return None if known is None else known.grant
