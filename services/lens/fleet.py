"""Lens and Redis: it announces its engine, and reads the forecast of its own steps."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable

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
from shared.names import forecast_key
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

    async def run(
        self,
        state: Callable[[], EngineState | None],
        heard: Callable[[], Iterable[str]],
        learned: Callable[[StepModel], None],
    ) -> None:
        """For ever: announce the state when it has changed, and pass on the newest forecast.

        Args:
            state: the engine now; None while nothing is known of it. Its `announced_at_s` is filled in by Redis.
            heard: the dispatches that have come since it was last asked; the state of the same instant shows those admitted.
            learned: takes the step model of each forecast read.
        """
        announced: EngineState | None = None
        announced_s = 0.0
        while True:
            now, now_s = state(), time.monotonic()
            self._unsettled.extend(heard())
            due = now != announced or self._unsettled or now_s - announced_s >= MOST_ANNOUNCE_S
            if now is not None and due and await self.announce(now):
                announced, announced_s = now, now_s
                await self._read_forecast(learned)
            await asyncio.sleep(LEAST_ANNOUNCE_S)

    async def announce(self, state: EngineState) -> bool:
        """Write the engine key, and settle what has been heard; False where Redis is away."""
        try:
            await self._announce(args=announcement(state, self._unsettled))
        except (redis.exceptions.RedisError, OSError) as error:
            self._readiness.lacks("redis", str(error))
            return False
        self._unsettled.clear()
        self._readiness.has("redis")
        return True

    async def leave(self) -> None:
        """Take the engine out of the pool at once."""
        with contextlib.suppress(redis.exceptions.RedisError, OSError):
            await self._leave(args=[self._engine])
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
