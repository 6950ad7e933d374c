"""Replicas share the engines: each step is learned by exactly one of them, whatever becomes of the others."""

import asyncio
import json
import signal
import time
from collections import Counter
from typing import Any

import pytest

from services.forecaster.partitions import partition_of
from shared.names import (
    FORECASTERS_KEY,
    TELEMETRY_STREAM,
    partition_key,
    partition_subjects,
    steps_stream_key,
    telemetry_subject,
)
from tests.integration.forecaster.conftest import Engine
from tests.servers import eventually
from tests.unit.forecaster.telemetry import mixed_step

PARTITIONS = 32


def holders(contents: Any) -> Counter[str]:
    """How many partitions each replica holds, as Redis has it."""
    held = (contents.hget(partition_key(partition), "holder") or "" for partition in range(PARTITIONS))
    return Counter(holder.partition("#")[0] for holder in held)


async def shared_evenly(contents: Any, *names: str, within_s: float = 10.0) -> float:
    """Wait until these replicas, and no others, have their shares; returns how long it took, s."""
    began_at_s = time.monotonic()

    def even() -> bool:
        counts = holders(contents)
        return counts.keys() == set(names) and max(counts.values()) - min(counts.values()) <= 1

    await eventually(even, within_s)
    return time.monotonic() - began_at_s


def steps_listed(contents: Any, engine: str) -> list[int]:
    entries = [fields for _, fields in contents.xrange(steps_stream_key(engine))]
    return [step for entry in entries for step in json.loads(entry["step"])]


class Fleet:
    """Engines in many partitions that report at once."""

    def __init__(self, redis_url: str) -> None:
        self.engines = [Engine(f"engine-{number}", redis_url) for number in range(8)]
        self.steps = 0

    async def report(self, client: Any, num_steps: int) -> None:
        first, self.steps = self.steps, self.steps + num_steps
        reports = [mixed_step(step) for step in range(first, self.steps)]
        await asyncio.gather(*(engine.report(client, reports) for engine in self.engines))

    async def learned(self, within_s: float = 15.0) -> None:
        for engine in self.engines:
            await engine.learned(within_s)


@pytest.fixture
def fleet(store):
    return Fleet(store.url)


async def test_a_replica_that_joins_is_given_its_share_and_gives_it_back_when_it_leaves(
    replicas, contents, client, fleet
):
    await replicas("one").ready()
    await fleet.report(client, 30)
    await fleet.learned()
    two = replicas("two", FORECASTER_PARTITIONS="8")  # those of the stream count
    await shared_evenly(contents, "one", "two")
    await two.ready()
    await fleet.report(client, 30)
    await fleet.learned()
    _, metrics = two.get("/metrics")
    engines = [line for line in metrics.splitlines() if line.startswith("forecaster_steps_learned_total{")]
    assert 0 < len(engines) < 8
    assert all(line.endswith(" 60.0") for line in engines)
    assert two.end(signal.SIGTERM) == 0
    assert await shared_evenly(contents, "one") < 1.5
    await fleet.report(client, 30)
    await fleet.learned()
    info = await client.jetstream().stream_info(TELEMETRY_STREAM, subjects_filter=partition_subjects("*"))
    stored = {subject.split(".")[-1]: int(subject.split(".")[-2]) for subject in info.state.subjects}
    assert stored == {engine.name: partition_of(engine.name, PARTITIONS) for engine in fleet.engines}


async def test_the_others_go_on_for_a_killed_replica_within_ten_seconds(replicas, contents, client, fleet):
    one = replicas("one")
    replicas("two")
    replicas("three")
    await shared_evenly(contents, "one", "two", "three")
    await fleet.report(client, 60)
    one.end(signal.SIGKILL)
    await fleet.report(client, 60)
    await fleet.learned(within_s=10)
    await shared_evenly(contents, "two", "three")
    for engine in fleet.engines:
        assert steps_listed(contents, engine.name) == list(range(120))


async def test_a_takeover_learns_nothing_twice_however_old_the_first_look_at_the_stream(
    replicas, contents, client, fleet
):
    one = replicas("one")
    await shared_evenly(contents, "one")
    two = replicas("two")
    await shared_evenly(contents, "one", "two")
    await one.ready()
    await two.ready()
    for _ in range(2):
        await fleet.report(client, 30)
        await fleet.learned()
        for engine in fleet.engines:
            engine.restart()
    one.end(signal.SIGKILL)
    await shared_evenly(contents, "two")
    await fleet.report(client, 30)
    await fleet.learned()
    for engine in fleet.engines:
        assert steps_listed(contents, engine.name) == list(range(90))


async def test_a_replica_that_was_frozen_and_wakes_up_can_spoil_nothing(replicas, contents, client, fleet):
    one = replicas("one")
    replicas("two")
    await shared_evenly(contents, "one", "two")
    await fleet.report(client, 60)
    one.send(signal.SIGSTOP)
    await fleet.report(client, 30)
    await shared_evenly(contents, "two")
    await fleet.report(client, 30)
    one.send(signal.SIGCONT)
    await fleet.report(client, 30)
    await shared_evenly(contents, "one", "two")
    await fleet.report(client, 30)
    await fleet.learned()
    assert "partition is another replica's now" in one.log.read_text()
    for engine in fleet.engines:
        assert steps_listed(contents, engine.name) == list(range(180))


async def test_replicas_put_back_from_memory_what_redis_has_lost(replicas, contents, client, fleet):
    replicas("one")
    replicas("two")
    await shared_evenly(contents, "one", "two")
    await fleet.report(client, 60)
    await fleet.learned()
    forecasts = [engine.forecast for engine in fleet.engines]
    contents.flushall()
    await fleet.learned()
    assert [engine.forecast for engine in fleet.engines] == forecasts
    await shared_evenly(contents, "one", "two")
    await fleet.report(client, 30)
    await fleet.learned()


async def test_a_replica_that_holds_nothing_lets_the_holder_put_back_what_redis_has_lost(replicas, contents):
    processes = {name: replicas(name, FORECASTER_PARTITIONS="1") for name in ("one", "two")}
    for process in processes.values():
        await process.ready()

    def members() -> int:
        return int(contents.zcard(FORECASTERS_KEY))

    def beats() -> dict[str, float]:
        return dict(contents.zrange(FORECASTERS_KEY, 0, -1, withscores=True))

    await eventually(lambda: members() == 2)
    (holder,) = (name for name in holders(contents) if name)
    (other,) = set(processes) - {holder}
    # The other may be ready since before the holder took its lease: what it has never seen it cannot miss.
    last_seen = beats()[other]
    await eventually(lambda: beats()[other] > last_seen)
    processes[holder].send(signal.SIGSTOP)
    contents.flushall()
    await eventually(lambda: members() == 1)  # the other has seen that nobody holds anything
    processes[holder].send(signal.SIGCONT)
    await eventually(lambda: members() == 2 and holders(contents)[holder] == 1)
    assert "is another replica's now" not in processes[holder].log.read_text()


async def test_writes_that_a_lost_redis_left_unanswered_do_not_cost_the_lease(replicas, store, contents, client, fleet):
    one = replicas("one")
    await one.ready()
    for _ in range(3):
        await fleet.report(client, 30)
        store.kill()
        await fleet.report(client, 30)
        await eventually(lambda: "redis" in (one.problems or {}))
        store.start()
        await one.ready()
        await fleet.learned()
    assert "is another replica's now" not in one.log.read_text()


async def test_a_stream_from_before_there_were_partitions_is_learned_too(replicas, contents, client, fleet):
    await client.jetstream().add_stream(name=TELEMETRY_STREAM, subjects=[telemetry_subject("*")])
    await fleet.report(client, 30)
    replicas("one")
    await shared_evenly(contents, "one")
    await fleet.report(client, 30)
    await fleet.learned()
