"""Forecasts, learned models and time series to Redis: what was learned in a burst goes out in one write, soon after."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Mapping

import msgspec
import redis.asyncio
import redis.exceptions
import structlog
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.typing import EncodableT

from services.forecaster.engine_model import EngineModelState, Observation
from services.forecaster.learner import Learner, Lesson
from shared.lifecycle import Readiness
from shared.names import REQUESTS_STREAM_KEY, forecast_key, model_key, steps_stream_key
from shared.telemetry import RequestReport
from shared.wire import UnreadableMessage, decode, encode

log = structlog.get_logger()

GATHER_S = 0.1
"""Least time between two writes, so the most that a forecast lags behind its model."""
LOOK_AGAIN_S = 1.0
"""Without anything to write, how often Redis is asked whether it is there and still the one that was written to."""
RETRY_S = 0.5
REDIS_TIMEOUT_S = 1.0
MOST_STEPS_KEPT = 1_000
MOST_REQUESTS_KEPT = 10_000

REDIS_TROUBLE = (redis.exceptions.RedisError, OSError)


class Publisher:
    """Writes what the learner has learned. While Redis is away it keeps what is to be written, and no more than Redis would.

    A write is one transaction with every engine that changed: a reader, or a restart, finds models, positions and time
    series of one moment. What was written last is put back, with its age, into a Redis that has lost it. A write whose answer was lost is written again; only then does a time series hold a step twice.
    """

    def __init__(self, redis_url: str, learner: Learner, readiness: Readiness) -> None:
        # A write that fails is taken up again by `run`, with what has been learned since; a retry below would hide it.
        self._redis = redis.asyncio.from_url(
            redis_url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
        )
        self._learner = learner
        self._readiness = readiness
        self._changed: set[str] = set()
        self._observations: dict[str, deque[Observation]] = {}
        self._requests: deque[tuple[str, RequestReport]] = deque(maxlen=MOST_REQUESTS_KEPT)
        self._something_to_write = asyncio.Event()
        self._writing = asyncio.Lock()
        self._written: dict[str, bytes] = {}
        self._server = ""

    def note(self, lesson: Lesson) -> None:
        """Something was learned; it will be written within `GATHER_S` and the time of a write."""
        kept = self._observations.setdefault(lesson.engine, deque(maxlen=MOST_STEPS_KEPT))
        kept.extend(lesson.observations)
        self._requests.extend((lesson.engine, report) for report in lesson.requests)
        self._changed.add(lesson.engine)
        self._something_to_write.set()

    async def restore(self) -> None:
        """Give the learner the models that are stored; waits for Redis for as long as it takes.

        Learning before would write over what was learned in an earlier life.
        """
        while True:
            try:
                states = await self._read_models()
                self._written = await self._read([*map(model_key, states), *map(forecast_key, states)])
            except REDIS_TROUBLE as error:
                self._readiness.lacks("redis", str(error))
                await asyncio.sleep(RETRY_S)
            else:
                self._readiness.has("redis")
                self._learner.restore(states.values())
                log.info("models restored", engines=list(states))
                return

    async def run(self) -> None:
        """Write for ever; Redis may come and go, and come back empty."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._something_to_write.wait(), LOOK_AGAIN_S)
            written = await asyncio.shield(self.write())  # a write cut in half would leave its outcome unknown
            await asyncio.sleep(GATHER_S if written else RETRY_S)

    async def write(self) -> bool:
        """Write whatever has changed; False where Redis is away, and then it stays to be written."""
        async with self._writing:
            try:
                written_at_s, server = await self._server_time()
                if server != self._server and self._written:
                    await self._redis.mset(self._written)
                self._server = server
                await self._write_changed(written_at_s)
            except REDIS_TROUBLE as error:
                self._readiness.lacks("redis", str(error))
                self._something_to_write.set()
                return False
            self._readiness.has("redis")
            return True

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()

    async def _read_models(self) -> dict[str, EngineModelState]:
        states = {}
        keys = [key.decode() async for key in self._redis.scan_iter(match=model_key("*"))]
        for key, data in (await self._read(keys)).items():
            try:
                state = decode(data, EngineModelState)
            except UnreadableMessage as error:
                log.warning("stored model not readable; its engine is learned anew", key=key, problem=str(error))
            else:
                states[state.engine] = state
        return states

    async def _read(self, keys: list[str]) -> dict[str, bytes]:
        values = await self._redis.mget(keys) if keys else []
        return {key: value for key, value in zip(keys, values, strict=True) if isinstance(value, bytes)}

    async def _server_time(self) -> tuple[float, str]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            pipeline.info("server")
            (seconds, microseconds), info = await pipeline.execute()
        return seconds + microseconds / 1e6, info["run_id"]

    async def _write_changed(self, written_at_s: float) -> None:
        """Raises what Redis raises, and then all is as before."""
        changed, observations, requests = self._changed, self._observations, list(self._requests)
        if not changed:
            return
        self._changed, self._observations = set(), {}
        self._requests.clear()
        self._something_to_write.clear()
        values = self._values(changed, written_at_s)
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.mset(values)
                for engine, latest in observations.items():
                    for observation in latest:
                        _add_step(pipeline, engine, observation)
                for engine, report in requests:
                    _add_request(pipeline, engine, report)
                await pipeline.execute()
        except REDIS_TROUBLE:
            self._take_back(changed, observations, requests)
            raise
        self._written.update(values)

    def _values(self, engines: Iterable[str], written_at_s: float) -> dict[str, bytes]:
        models = [self._learner.models[engine] for engine in engines]
        forecasts = {forecast_key(model.engine): encode(model.forecast(written_at_s)) for model in models}
        return forecasts | {model_key(model.engine): encode(model.state) for model in models}

    def _take_back(
        self,
        changed: set[str],
        observations: Mapping[str, deque[Observation]],
        requests: list[tuple[str, RequestReport]],
    ) -> None:
        self._changed |= changed
        for engine, earlier in observations.items():
            earlier.extend(self._observations.get(engine, ()))
            self._observations[engine] = earlier
        self._requests = deque([*requests, *self._requests], maxlen=MOST_REQUESTS_KEPT)


def _add_step(pipeline: Pipeline, engine: str, observation: Observation) -> None:
    fields: dict[EncodableT, EncodableT] = {
        "step": observation.step,
        "predicted_ms": round(observation.predicted_s * 1e3, 3),
        "actual_ms": round(observation.actual_s * 1e3, 3),
    }
    pipeline.xadd(steps_stream_key(engine), fields, maxlen=MOST_STEPS_KEPT, approximate=True)


def _add_request(pipeline: Pipeline, engine: str, report: RequestReport) -> None:
    """A field for each that the report has; what never came to be is left out."""
    told = {name: value for name, value in msgspec.to_builtins(report).items() if value is not None}
    fields: dict[EncodableT, EncodableT] = {"engine": engine} | {name: str(value) for name, value in told.items()}
    pipeline.xadd(REQUESTS_STREAM_KEY, fields, maxlen=MOST_REQUESTS_KEPT, approximate=True)
