"""A replica's own claim whose answer is late, or never comes, does not make it take itself for another."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import redis.exceptions

from services.forecaster.engine_model import EngineModel, Position
from services.forecaster.intake import Reading
from services.forecaster.learner import Arrived, Learner
from services.forecaster.publish import Publisher
from services.forecaster.share import Share
from services.forecaster.sharing import Replica
from services.forecaster.store import Grant, Refused, Store
from shared.lifecycle import Readiness, background
from shared.names import partition_key
from shared.telemetry import Telemetry
from tests.integration.forecaster.conftest import Engine
from tests.servers import eventually
from tests.unit.forecaster.telemetry import mixed_step

ONE, TWO = Replica("one", "x"), Replica("two", "x")


class SlowToAnswer(Store):
    """Redis takes what it is asked to take at once; its answer waits until it is let through, or is lost."""

    def __init__(self, redis_url: str) -> None:
        super().__init__(redis_url, ONE)
        self.answering = asyncio.Event()
        self.answering.set()
        self.loses_an_answer = False
        self.takes = 0

    async def take(self, wanted: Mapping[int, int]) -> tuple[Grant, ...]:
        grants = await super().take(wanted)
        self.takes += 1
        await self.answering.wait()
        if self.loses_an_answer:
            self.loses_an_answer = False
            raise redis.exceptions.TimeoutError("its answer was lost")
        return grants


class One:
    """A replica of a single partition, without a broker: it is told what its engine has reported."""

    def __init__(self, redis_url: str) -> None:
        self.store = SlowToAnswer(redis_url)
        self.learner = Learner(10)
        self.refusals: list[Refused] = []
        readiness = Readiness("redis", "partitions")
        source: Any = SimpleNamespace(stream=SimpleNamespace(partitions=1), stir=lambda: None)
        self.publisher = Publisher(
            self.store, ONE, self.learner, readiness, is_behind=lambda: False, refused=self._refused
        )
        self.share = Share(self.store, ONE, self.learner, source, self.publisher, readiness)
        self._learned = 0

    @property
    def model(self) -> EngineModel:
        """Of the engine, in memory."""
        return self.learner.held[0].models["a"]

    def learn(self) -> None:
        """One step more."""
        self._learned += 1
        told = Telemetry(engine="a", lens="x", sequence=self._learned, reports=(mixed_step(self._learned),))
        lease = self.learner.held[0].lease
        lesson = self.learner.learn(Arrived(lease, Position("s", self._learned), "a", Reading(told)))
        assert lesson is not None
        self.publisher.note(lesson)

    def _refused(self, refusal: Refused) -> None:
        self.refusals.append(refusal)
        self.share.refused(refusal)


@pytest.fixture
async def one(store, engine):
    replica = One(store.url)
    async with background(replica.publisher.run(), replica.share.run()):
        await eventually(lambda: replica.learner.held)
        replica.learn()
        await eventually(lambda: engine.steps_stored == 1)
        yield replica
    await replica.store.close()


async def saved(engine: Engine, steps: int) -> None:
    await eventually(lambda: engine.steps_stored == engine.steps_forecast == steps)


async def test_a_write_that_meets_its_own_replicas_claim_does_not_cost_the_lease(one, contents, engine):
    model = one.model
    one.store.answering.clear()
    contents.flushall()
    one.share.look()
    await eventually(lambda: one.store.takes == 2)
    one.learn()
    await eventually(lambda: one.refusals)  # under the lease before: Redis has the new one already
    assert one.model is model
    one.store.answering.set()
    await saved(engine, 2)
    assert one.model is model


async def test_a_claim_whose_answer_was_lost_is_made_again(one, contents, engine):
    model = one.model
    one.store.loses_an_answer = True
    contents.flushall()
    one.share.look()
    await saved(engine, 1)
    assert one.store.takes == 3
    one.learn()
    await saved(engine, 2)
    assert one.model is model


async def test_a_claim_that_redis_carries_out_once_nobody_waits_for_it_does_not_cost_the_lease(one, engine):
    model, lease = one.model, one.learner.held[0].lease
    await one.store.take({0: 0})
    one.learn()
    await saved(engine, 2)
    assert one.model is model
    assert one.learner.held[0].lease.epoch > lease.epoch + 1


async def test_whoever_was_not_heard_of_while_another_took_its_partition_writes_nothing_any_more(
    one, store, contents, engine
):
    two = Store(store.url, TWO)
    contents.hset(partition_key(0), "until_ms", 0)
    assert await two.take({0: 0})
    one.learn()
    await eventually(lambda: not one.learner.held)
    await two.close()
    assert contents.hget(partition_key(0), "holder") == TWO.holder
    assert engine.steps_stored == 1
