"""Lens and Redis: it announces its engine, and reads the forecast of its own steps."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection

import msgspec
import redis.asyncio
import redis.exceptions
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.lens.announced import LEAST_ANNOUNCE_S, MOST_ANNOUNCE_S
from shared.engine_state import EngineState
from shared.forecast import Forecast
from shared.lifecycle import Readiness
from shared.names import ENGINE_KEY_LIFETIME_S, ENGINES_KEY, engine_key, forecast_key, prefixes_key
from shared.steptime import StepModel
from shared.wire import UnreadableMessage, decode, encode

log = structlog.get_logger()

REDIS_TIMEOUT_S = 1.0


class Fleet:
    """This engine's place in the fleet; Redis may come and go."""

    def __init__(self, redis_url: str, engine: str, readiness: Readiness) -> None:
        self._redis = redis.asyncio.from_url(
            redis_url,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # the next announcement is the retry
        )
        self._engine = engine
        self._readiness = readiness
        self._shared_prefixes: frozenset[str] | None = None
        """What is in the set of prefixes, if that is known."""

    async def run(
        self,
        state: Callable[[], EngineState | None],
        learned: Callable[[StepModel], None],
        prefixes: Callable[[], Collection[str]],
    ) -> None:
        """For ever: announce the state when it has changed, and pass on the newest forecast.

        Args:
            state: the engine now; None while nothing is known of it. Its `announced_at_s` is filled in here.
            learned: takes the step model of each forecast read.
            prefixes: the blocks of text that the state tells of the changes to.
        """
        announced: EngineState | None = None
        announced_s = 0.0
        while True:
            now, now_s = state(), time.monotonic()
            due = now != announced or now_s - announced_s >= MOST_ANNOUNCE_S
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
        """Write the engine key; False where Redis is away."""
        try:
            seconds, microseconds = await self._redis.time()
            stamped = msgspec.structs.replace(state, announced_at_s=seconds + microseconds / 1e6)
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.set(engine_key(self._engine), encode(stamped), ex=ENGINE_KEY_LIFETIME_S)
                pipeline.sadd(ENGINES_KEY, self._engine)
                await pipeline.execute()
        except (redis.exceptions.RedisError, OSError) as error:
            self._readiness.lacks("redis", str(error))
            return False
        self._readiness.has("redis")
        return True

    async def share_prefixes(self, held: frozenset[str]) -> bool:
        """Write which blocks of text are cached, to be called before the state that tells of them; False where Redis is away.

        So whoever has read a state and then the set finds in it every change that the state tells of, or a later one.
        """
        try:
            if held or self._shared_prefixes:
                count = await self._write_prefixes(self._shared_prefixes, held)
                if count != len(held):  # Redis has lost what it had
                    await self._write_prefixes(None, held)
        except (redis.exceptions.RedisError, OSError) as error:
            self._shared_prefixes = None
            self._readiness.lacks("redis", str(error))
            return False
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
            await self._redis.delete(engine_key(self._engine), prefixes_key(self._engine))
            await self._redis.srem(ENGINES_KEY, self._engine)
        await self._redis.aclose()

    async def _read_forecast(self, learned: Callable[[StepModel], None]) -> None:
        try:
            data = await self._redis.get(forecast_key(self._engine))
            if isinstance(data, bytes):
                learned(decode(data, Forecast).step_model())
        except (redis.exceptions.RedisError, OSError) as error:
            self._readiness.lacks("redis", str(error))
        except UnreadableMessage as error:
            log.warning("forecast not readable; the last one stays in use", problem=str(error))
