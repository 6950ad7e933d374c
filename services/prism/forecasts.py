"""Reads the fleet from Redis for each request: who is in the pool, in which state, with which forecast; only what changed."""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import structlog

from services.prism.fleet import Fleet
from services.prism.mirror import Mirror
from services.prism.scripts import RedisAway, Scripts
from shared.fleet_scripts import CHANGED, Changes
from shared.lifecycle import Readiness
from shared.names import ENGINE_KEY_LIFETIME_S

log = structlog.get_logger()

RETRY_S = 1.0
"""After a failure requests do not wait for Redis again for so long."""


class _Known(NamedTuple):
    """Up to where changes have been read."""

    highest: int = 0
    life: str = ""
    asked_us: int = 0


class FleetReader:
    """The fleet as Redis has it now; as it was last, with its age, while Redis is away.

    Args:
        mirror: keeps what is read.
        note_failure: called for each read that failed.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        scripts: Scripts,
        mirror: Mirror,
        readiness: Readiness,
        note_failure: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scripts = scripts
        self._mirror = mirror
        self._readiness = readiness
        self._note_failure = note_failure
        self._clock = clock
        self._decoder = msgspec.msgpack.Decoder(Changes)
        self._known = _Known()
        self._known_over = 0
        """The connection by which that was read."""
        self._life = ""
        """Of the marks, as Redis said last; another is that of a Redis that has lost what it had."""
        self._redis_time_s = 0.0
        self._answered_at_s: float | None = None
        self._away_until_s: float | None = None
        self._forgiving_until_s = 0.0
        self._turn = asyncio.Lock()
        self._reads_begun = self._latest_read = 0

    async def read(self) -> Fleet:
        """The fleet by a read begun after this call; requests that arrive during a read share the next one."""
        wanted_read = self._reads_begun + 1
        async with self._turn:
            if self._latest_read < wanted_read:
                self._reads_begun += 1
                this_read = self._reads_begun
                await self._refresh()
                self._latest_read = this_read
        return self._view()

    async def _refresh(self) -> None:
        if self._away_until_s is not None and self._clock() < self._away_until_s:
            return
        try:
            changes = await self._fetch()
        except (RedisAway, msgspec.DecodeError) as error:
            self._note_failure()
            if self._away_until_s is None:
                log.warning("redis is away; the fleet is as last read", problem=str(error))
            self._away_until_s = self._clock() + RETRY_S
            self._readiness.lacks("redis", str(error))
            return
        self._answered_at_s, self._redis_time_s = self._clock(), changes.now_us / 1e6
        if self._away_until_s is not None:
            log.info("redis is back")
        if self._away_until_s is not None or self._life not in ("", changes.life):
            # Keys may have run out meanwhile, or have been lost; engines have their time to announce themselves again.
            self._forgiving_until_s = self._answered_at_s + ENGINE_KEY_LIFETIME_S
        self._away_until_s, self._life = None, changes.life
        self._mirror.take(changes, forgiving=self._clock() < self._forgiving_until_s)
        self._readiness.has("redis")

    async def _fetch(self) -> Changes:
        await self._scripts.connect()
        if self._known_over != self._scripts.connections:
            self._known, self._known_over = _Known(), self._scripts.connections
        changes = self._decoder.decode(await self._scripts.call(CHANGED, *self._known))
        self._known = _Known(changes.highest, changes.life, changes.now_us)
        return changes

    def _view(self) -> Fleet:
        if self._answered_at_s is None:
            return Fleet()
        age_s = self._clock() - self._answered_at_s
        return Fleet(
            pool=self._mirror.pool,
            reserved=self._mirror.reserved if self._away_until_s is None else None,
            now_s=self._redis_time_s + age_s,
            age_s=age_s,
        )
