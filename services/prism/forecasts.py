"""Reads the fleet from Redis for each request: who is in the pool, in which state, with which forecast."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import redis.asyncio
import redis.exceptions
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.prism.fleet import EngineView, Fleet
from shared.engine_state import EngineState
from shared.forecast import Forecast
from shared.lifecycle import Readiness
from shared.names import ENGINE_KEY_LIFETIME_S, ENGINES_KEY, engine_key, forecast_key
from shared.steptime import PRIOR, StepModel
from shared.wire import Message, UnreadableMessage, decode

log = structlog.get_logger()

REDIS_TIMEOUT_S = 0.25
RETRY_S = 1.0
"""After a failure requests do not wait for Redis again for so long."""


class FleetReader:
    """The fleet as Redis has it now; as it was last, with its age, while Redis is away.

    Args:
        note_failure: called for each read that failed.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        redis_url: str,
        readiness: Readiness,
        note_failure: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = redis.asyncio.from_url(
            redis_url,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._readiness = readiness
        self._note_failure = note_failure
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._names: tuple[str, ...] = ()
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

    async def aclose(self) -> None:
        """Close the connections to Redis."""
        await self._redis.aclose()

    async def _refresh(self) -> None:
        if self._away_until_s is not None and self._clock() < self._away_until_s:
            return
        try:
            redis_time_s, values = await self._fetch()
        except (redis.exceptions.RedisError, OSError) as error:
            self._note_failure()
            if self._away_until_s is None:
                log.warning("redis is away; the fleet is as last read", problem=str(error))
            self._away_until_s = self._clock() + RETRY_S
            self._readiness.lacks("redis", str(error) or type(error).__name__)
            return
        self._answered_at_s, self._redis_time_s = self._clock(), redis_time_s
        if self._away_until_s is not None:
            log.info("redis is back")
            # Keys may have run out meanwhile; engines have their time to announce themselves again.
            self._forgiving_until_s = self._answered_at_s + ENGINE_KEY_LIFETIME_S
            self._away_until_s = None
        self._take(values)
        self._readiness.has("redis")

    async def _fetch(self) -> tuple[float, Sequence[bytes | None]]:
        """Redis TIME, and the engine and forecast values of `_names`: one round trip, two when an engine is new."""
        while True:
            async with self._redis.pipeline(transaction=False) as pipeline:
                pipeline.time()
                pipeline.smembers(ENGINES_KEY)
                if self._names:
                    pipeline.mget([key(name) for key in (engine_key, forecast_key) for name in self._names])
                (seconds, microseconds), members, *rest = await pipeline.execute()
            names = tuple(sorted(member.decode() for member in members))
            if names == self._names:
                return seconds + microseconds / 1e6, rest[0] if rest else ()
            self._names = names

    def _take(self, values: Sequence[bytes | None]) -> None:
        engine_values, forecast_values = values[: len(self._names)], values[len(self._names) :]
        records = dict(self._records) if self._clock() < self._forgiving_until_s else {}
        for name, engine_value, forecast_value in zip(self._names, engine_values, forecast_values, strict=True):
            if engine_value is not None:
                records[name] = record = self._records.get(name) or _Record()
                record.take(engine_value, forecast_value)
        self._records = records

    def _view(self) -> Fleet:
        if self._answered_at_s is None:
            return Fleet()
        age_s = self._clock() - self._answered_at_s
        views = tuple(record.view for record in self._records.values() if record.view is not None)
        return Fleet(engines=views, now_s=self._redis_time_s + age_s, age_s=age_s)


MessageType = TypeVar("MessageType", bound=Message)


class _Latest(Generic[MessageType]):
    """The last readable value of a key, decoded only when its bytes have changed."""

    def __init__(self, kind: type[MessageType]) -> None:
        self.value: MessageType | None = None
        self._kind = kind
        self._data: bytes | None = None

    def take(self, data: bytes) -> bool:
        """Whether there is a new value."""
        if data == self._data:
            return False
        self._data = data
        try:
            self.value = decode(data, self._kind)
        except UnreadableMessage as error:
            log.warning("a value in redis is not readable; the last one stays in use", problem=str(error))
            return False
        return True


class _Record:
    """What was last read of one engine."""

    def __init__(self) -> None:
        self._state = _Latest(EngineState)
        self._forecast = _Latest(Forecast)
        self._model: StepModel = PRIOR
        self.view: EngineView | None = None
        """None as long as no state of it was readable."""

    def take(self, engine_value: bytes, forecast_value: bytes | None) -> None:
        is_news = self._state.take(engine_value)
        if forecast_value is not None and self._forecast.take(forecast_value):
            is_news = True
            if self._forecast.value is not None:
                self._model = self._forecast.value.step_model()
        if is_news:
            self.view = self._seen()

    def _seen(self) -> EngineView | None:
        state, forecast = self._state.value, self._forecast.value
        if state is None or forecast is None:
            return None if state is None else EngineView(state=state)
        return EngineView(
            state=state,
            model=self._model,
            health=forecast.health,
            mape=forecast.mape,
            steps_learned=forecast.steps_learned,
            capacity_tokens_per_s=forecast.capacity_tokens_per_s,
            forecast_written_at_s=forecast.written_at_s,
        )
