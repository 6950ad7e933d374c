"""Redis as the forecaster uses it: leases, the models of a partition, and writes that count only while its lease holds."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import redis.asyncio
import redis.exceptions
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.forecaster.engine_model import EngineModel, EngineModelState, Position
from services.forecaster.partitions import partition_of
from services.forecaster.scripts import BEAT, TAKE, WRITE
from services.forecaster.sharing import LEASE_S, Claim, Lease, Replica, Standing
from shared.names import (
    FORECASTERS_KEY,
    REQUESTS_STREAM_KEY,
    SET_ASIDE_KEY,
    forecast_key,
    model_key,
    partition_key,
    unreadable_model_key,
)
from shared.wire import UnreadableMessage, decode

log = structlog.get_logger()

REDIS_TROUBLE = (redis.exceptions.RedisError, OSError)
REDIS_TIMEOUT_S = 1.0
KEYS_A_SCAN = 1000
LEASE_MS = round(LEASE_S * 1e3)

MOST_STEPS_ENTRIES = 100
"""An engine, each of up to half a second."""
MOST_REQUESTS_KEPT = 10_000
MOST_SET_ASIDE_KEPT = 1_000

UNRESTORABLE = (UnreadableMessage, ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""What a stored model may raise that was written by another hand."""


class Grant(NamedTuple):
    """A lease, and up to where its partition was learned by whoever had it before."""

    lease: Lease
    position: Position


class Stored(NamedTuple):
    """What Redis has of a partition's engines."""

    models: tuple[EngineModel, ...]
    forecasts: Mapping[str, bytes]
    has_unreadable: bool


class Refused(NamedTuple):
    """A write that came to nothing, as its lease is not what Redis has of the partition."""

    lease: Lease
    """Under which it was written."""
    is_taken: bool
    """The partition is this replica's no more. It may be still where Redis has lost the lease, or has a later one of this
    very replica, of which it has not heard yet."""


class Store:
    """All methods raise `REDIS_TROUBLE` where Redis is away.

    Attributes:
        is_new: whether the latest beat found another Redis process than the one before; what it has may be old, or gone.
    """

    def __init__(self, redis_url: str, replica: Replica) -> None:
        # Whatever fails is taken up again by its caller, with what has been learned since; a retry below would hide it.
        self._redis = redis.asyncio.from_url(
            redis_url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
        )
        self._replica = replica
        self._beat = self._redis.register_script(BEAT)
        self._take = self._redis.register_script(TAKE)
        self._write = self._redis.register_script(WRITE)
        self._server = ""
        self._server_ahead_s = 0.0
        self.is_new = False

    @property
    def time_s(self) -> float:
        """Redis TIME now: as it last said, and what has passed since."""
        return self._server_ahead_s + time.monotonic()

    async def beat(self, held: Iterable[Lease], partitions: int) -> Standing:
        """Give a sign of life, prolong the leases held, and see how things stand."""
        held_fields = [field for lease in held for field in lease]
        answer = await self._beat(
            keys=[FORECASTERS_KEY],
            args=[self._replica.name, self._replica.holder, LEASE_MS, partition_key(""), partitions, *held_fields],
        )
        self._note_time(answer[0])
        server = (await self._redis.info("server"))["run_id"]
        self.is_new, self._server = bool(self._server) and server != self._server, server
        claims = tuple(Claim(holder.decode(), epoch, left_ms / 1e3) for holder, epoch, left_ms in answer[2])
        return Standing(tuple(member.decode() for member in answer[1]), claims)

    async def take(self, wanted: Mapping[int, int]) -> tuple[Grant, ...]:
        """Lease those of the partitions that are free; a new lease's epoch is above the one given with the partition."""
        wanted_fields = [field for item in wanted.items() for field in item]
        answer = await self._take(
            args=[self._replica.name, self._replica.holder, LEASE_MS, partition_key(""), *wanted_fields]
        )
        return tuple(
            Grant(Lease(partition, epoch), Position(stream.decode(), int(sequence)))
            for partition, epoch, stream, sequence in answer
        )

    async def write(self, portions: bytes) -> tuple[Refused, ...]:
        """Write encoded portions, each all or nothing; says which were refused."""
        stamp, refused = await self._write(
            args=[
                portions,
                REQUESTS_STREAM_KEY,
                SET_ASIDE_KEY,
                MOST_STEPS_ENTRIES,
                MOST_REQUESTS_KEPT,
                MOST_SET_ASIDE_KEPT,
            ]
        )
        self._note_time(stamp)
        return tuple(Refused(Lease(partition, epoch), bool(is_taken)) for partition, epoch, is_taken in refused)

    async def read(self, partitions: Iterable[int], of: int) -> Mapping[int, Stored]:
        """The models of these partitions out of so many; a model that cannot be read is put under another key."""
        wanted = set(partitions)
        prefix = model_key("")
        keys = [key.decode() async for key in self._redis.scan_iter(match=f"{prefix}*", count=KEYS_A_SCAN)]
        by_engine = {engine: partition_of(engine, of) for engine in (key.removeprefix(prefix) for key in keys)}
        engines = [engine for engine, partition in by_engine.items() if partition in wanted]
        models = await self._read_models(engines)
        forecasts = await self._read_values(engines, forecast_key)
        return {
            partition: Stored(
                tuple(model for engine, model in models.items() if by_engine[engine] == partition),
                {engine: value for engine, value in forecasts.items() if by_engine[engine] == partition},
                any(by_engine[engine] == partition and engine not in models for engine in engines),
            )
            for partition in wanted
        }

    async def leave(self) -> None:
        """Others need not wait for a sign of life any more."""
        await self._redis.zrem(FORECASTERS_KEY, self._replica.name)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._redis.aclose()

    async def _read_models(self, engines: list[str]) -> dict[str, EngineModel]:
        models = {}
        for engine, data in (await self._read_values(engines, model_key)).items():
            try:
                models[engine] = _restored(engine, data)
            except UNRESTORABLE as error:
                kept_as = unreadable_model_key(engine)
                log.warning(
                    "stored model not readable; its engine is learned anew", problem=str(error), kept_as=kept_as
                )
                await self._redis.rename(model_key(engine), kept_as)
        return models

    async def _read_values(self, engines: list[str], key: Any) -> dict[str, bytes]:
        values = await self._redis.mget([key(engine) for engine in engines]) if engines else []
        return {engine: value for engine, value in zip(engines, values, strict=True) if isinstance(value, bytes)}

    def _note_time(self, stamp: tuple[bytes, bytes]) -> None:
        seconds, microseconds = stamp
        self._server_ahead_s = int(seconds) + int(microseconds) / 1e6 - time.monotonic()


def _restored(engine: str, data: bytes) -> EngineModel:
    state = decode(data, EngineModelState)
    if state.engine != engine:
        raise ValueError(f"the model of {state.engine[:200]!r} under the key of {engine!r}")
    return EngineModel.restored(state)
