"""Lens and Redis: it announces its engine, and reads the forecast of its own steps."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable

import redis.asyncio
import redis.exceptions
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.lens.announced import LEAST_ANNOUNCE_S, MOST_ANNOUNCE_S
from shared.engine_state import EngineState
from shared.fleet_scripts import ANNOUNCE, LEAVE, announcement
from shared.forecast import Forecast
from shared.lifecycle import Readiness
from shared.names import ENGINE_KEY_LIFETIME_S, forecast_key, prefixes_key
from shared.steptime import StepModel
from shared.wire import UnreadableMessage, decode

log = structlog.get_logger()

REDIS_TIMEOUT_S = 1.0
MOST_UNSETTLED = 4096
"""Dispatches kept for the next announcement while Redis is away; what is older has expired there."""


class Fleet:
    """This engine's place in the fleet; Redis may come and go."""

    def __init__(self, redis_url: str, engine: str, readiness: Readiness) -> None:
        self._redis = redis.asyncio.from_url(
            redis_url,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # the next announcement is the retry
        )
        self._announce = self._redis.register_script(ANNOUNCE)
        self._leave = self._redis.register_script(LEAVE)
        self._engine = engine
        self._readiness = readiness
        self._unsettled: deque[str] = deque(maxlen=MOST_UNSETTLED)
        self._shared_prefixes: frozenset[str] | None = None
        """What is in the set of prefixes, if that is known."""

    async def run(
        self,
        state: Callable[[], EngineState | None],
        heard: Callable[[], Iterable[str]],
        learned: Callable[[StepModel], None],
        prefixes: Callable[[], Collection[str]],
    ) -> None:
        """For ever: announce the state when it has changed, and pass on the newest forecast.

        Args:
            state: the engine now; None while nothing is known of it. Its `announced_at_s` is filled in by Redis.
            heard: the dispatches that have come since it was last asked; the state of the same instant shows those admitted.
            learned: takes the step model of each forecast read.
            prefixes: the blocks of text that the state tells of the changes to.
        """
        announced: EngineState | None = None
        announced_s = 0.0
        while True:
            now, now_s = state(), time.monotonic()
            self._unsettled.extend(heard())
            due = now != announced or self._unsettled or now_s - announced_s >= MOST_ANNOUNCE_S
            if (
                now is not None
                and due
                and await self.share_prefixes(frozenset(prefixes()))
                and await self.announce(now)
            ):
                announced, announced_s = now, now_s
                await self._read_forecast(learned)
            await asyncio.sleep(LEAST_ANNOUNCE_S)

    async def announce(self, state: EngineState) -> bool:
        """Write the engine key, and settle what has been heard; False where Redis is away.

        A key of reservations that holds something else is no reason to leave the pool: there is then nothing to settle.
        """
        try:
            unusable: bytes | None = await self._announce(args=announcement(state, self._unsettled))
        except (redis.exceptions.RedisError, OSError) as error:
            self._note("redis", str(error))
            return False
        self._unsettled.clear()
        self._readiness.has("redis")
        if unusable is None:
            self._readiness.has("reservations")
        else:
            self._note("reservations", f"{unusable.decode()} holds something else than reservations")
        return True

    async def share_prefixes(self, held: frozenset[str]) -> bool:
        """Write which blocks of text are cached, to be called before the state that tells of them; False where Redis is away.

        A Redis that is there and refuses them, as one that is full does, is no reason to leave the pool: routers then know the
        cache less well. Otherwise whoever has read a state and then the set finds in it every change that the state tells of, or a later one.
        """
        try:
            if held or self._shared_prefixes:
                count = await self._write_prefixes(self._shared_prefixes, held)
                if count != len(held):  # Redis has lost what it had
                    await self._write_prefixes(None, held)
        except redis.exceptions.ResponseError as error:
            self._shared_prefixes = None
            self._note("prefixes", str(error))
            return True
        except (redis.exceptions.RedisError, OSError) as error:
            self._shared_prefixes = None
            self._note("redis", str(error))
            return False
        self._readiness.has("prefixes")
        self._shared_prefixes = held
        return True

    async def _write_prefixes(self, before: frozenset[str] | None, held: frozenset[str]) -> int:
        """Make the set what is held, from what it was before, None where that is not known; returns its size."""
        key = prefixes_key(self._engine)
        async with self._redis.pipeline(transaction=True) as pipeline:
            if before is None:
                pipeline.delete(key)
                before = frozenset()
            if gone := before - held:
                pipeline.srem(key, *gone)
            if come := held - before:
                pipeline.sadd(key, *come)
            pipeline.expire(key, ENGINE_KEY_LIFETIME_S)
            pipeline.scard(key)
            return int((await pipeline.execute())[-1])

    async def leave(self) -> None:
        """Take the engine out of the pool at once."""
        with contextlib.suppress(redis.exceptions.RedisError, OSError):
            await self._leave(args=[self._engine])
            await self._redis.delete(prefixes_key(self._engine))
        await self._redis.aclose()

    async def _read_forecast(self, learned: Callable[[StepModel], None]) -> None:
        try:
            data = await self._redis.get(forecast_key(self._engine))
            if isinstance(data, bytes):
                learned(decode(data, Forecast).step_model())
        except (redis.exceptions.RedisError, OSError) as error:
            self._note("redis", str(error))
        except UnreadableMessage as error:
            log.warning("forecast not readable; the last one stays in use", problem=str(error))

    def _note(self, part: str, problem: str) -> None:
        """Say what is wrong, once for as long as it is."""
        if self._readiness.problems.get(part) != problem:
            log.warning("redis is away, or does not take all that it should", part=part, problem=problem)
        self._readiness.lacks(part, problem)
