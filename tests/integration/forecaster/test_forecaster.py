import json
import signal
import time
from typing import Any

import pytest

from shared.forecast import ModelHealth
from shared.names import (
    CHANGES_KEY,
    REQUESTS_STREAM_KEY,
    TELEMETRY_STREAM,
    forecast_key,
    steps_stream_key,
)
from shared.telemetry import IdleReport, Outcome, RequestReport
from tests.integration.forecaster.conftest import Engine
from tests.servers import eventually
from tests.unit.forecaster.telemetry import mixed_step

REQUEST = RequestReport(
    request_id="r-1",
    slo_class="chat",
    outcome=Outcome.STOP,
    prompt_tokens=90,
    output_tokens=30,
    target_ttft_ms=500.0,
    ttft_ms=120.5,
    e2e_ms=900.0,
)


def series(contents: Any, engine: str) -> tuple[list[int], list[float], list[float]]:
    """The time series of an engine's steps, put together."""
    entries = [fields for _, fields in contents.xrange(steps_stream_key(engine))]
    names = ("step", "predicted_ms", "actual_ms")
    steps, predicted_ms, actual_ms = ([value for e in entries for value in json.loads(e[name])] for name in names)
    return steps, predicted_ms, actual_ms


async def test_steps_become_a_forecast_whose_error_falls(process, contents, client, engine):
    await process.ready()
    await engine.report(client, (mixed_step(step) for step in range(30)))
    await engine.learned()
    early = engine.forecast
    await engine.report(client, (mixed_step(step) for step in range(30, 600)))
    await engine.learned()
    late = engine.forecast
    assert early.mape > 2 * late.mape
    assert late.health is ModelHealth.HEALTHY
    assert late.step_model().step_time_s(mixed_step(7).shape) * 1e3 == pytest.approx(
        mixed_step(7).duration_ms, rel=0.05
    )
    seconds, _ = contents.time()
    assert abs(late.written_at_s - seconds) < 5
    assert '"coefficients_ms":{"base":' in contents.get(forecast_key("a"))
    assert contents.zscore(CHANGES_KEY, forecast_key("a"))  # routers are told


async def test_steps_and_requests_become_time_series(process, contents, client, engine):
    await process.ready()
    await engine.report(client, [*map(mixed_step, range(40)), REQUEST, IdleReport(idle_s=1.0)])
    await engine.learned()
    steps, predicted_ms, actual_ms = series(contents, "a")
    assert steps == list(range(40))
    assert actual_ms == pytest.approx([mixed_step(step).duration_ms for step in range(40)], abs=0.001)
    assert predicted_ms[39] == pytest.approx(mixed_step(39).duration_ms, rel=0.25)
    (_, request), *others = contents.xrange(REQUESTS_STREAM_KEY)
    assert not others
    assert request["engine"] == "a"
    assert request["ttft_ms"] == "120.5"
    assert request["outcome"] == "stop"
    assert "tpot_ms" not in request


async def test_a_killed_forecaster_goes_on_with_nothing_learned_twice_or_forgotten(process, client, engine):
    await process.ready()
    await engine.report(client, map(mixed_step, range(200)))
    await eventually(lambda: engine.stored)
    process.end(signal.SIGKILL)
    learned_before = engine.steps_stored
    await engine.report(client, map(mixed_step, range(200, 300)))
    process.start()
    await engine.learned()
    assert 0 < learned_before <= 200


async def test_an_engine_that_fell_silent_does_not_hold_a_restart_back(process, store, client, engine):
    await process.ready()
    silent = Engine("silent", store.url)
    await silent.report(client, map(mixed_step, range(10)))
    await engine.report(client, map(mixed_step, range(60)))
    await silent.learned()
    await engine.learned()
    process.end(signal.SIGKILL)
    process.start()
    await engine.report(client, map(mixed_step, range(60, 90)))
    await engine.learned()
    _, metrics = process.get("/metrics")
    assert "forecaster_lag_messages 0.0" in metrics
    assert silent.place < engine.place


async def test_sigterm_writes_the_last_state_and_leaves_nothing_behind(process, client, engine):
    await process.ready()
    await engine.report(client, map(mixed_step, range(100)))
    await eventually(lambda: engine.forecast is not None)
    began_s = time.monotonic()
    assert process.end(signal.SIGTERM) == 0
    assert time.monotonic() - began_s < 4
    assert not list(process.directory.rglob("*"))
    at_exit = engine.steps_stored
    assert at_exit == engine.forecast.steps_learned
    process.start()
    await engine.learned()
    assert 0 < at_exit <= 100


async def test_a_restart_of_nats_loses_nothing(process, broker, client, engine):
    await process.ready()
    await engine.report(client, map(mixed_step, range(100)))
    await engine.learned()
    broker.kill()
    await eventually(lambda: "nats" in (process.problems or {}))
    broker.start()
    await engine.report(client, [mixed_step(100)])
    await engine.report(client, map(mixed_step, range(101, 200)))
    await engine.learned()
    await process.ready()
    assert "Traceback" not in process.log.read_text()


async def test_a_lost_consumer_is_made_anew(process, client, engine):
    await process.ready()
    await engine.report(client, map(mixed_step, range(50)))
    await engine.learned()
    jetstream = client.jetstream()
    for consumer in await jetstream.consumers_info(TELEMETRY_STREAM):
        await jetstream.delete_consumer(TELEMETRY_STREAM, consumer.name)
    await engine.report(client, map(mixed_step, range(50, 100)))
    await engine.learned()


async def test_a_stream_made_anew_is_learned_from_its_start(process, client, engine):
    await process.ready()
    await engine.report(client, map(mixed_step, range(90)))
    await engine.learned()
    jetstream = client.jetstream()
    first_life = (await jetstream.stream_info(TELEMETRY_STREAM)).created
    await jetstream.delete_stream(TELEMETRY_STREAM)

    async def made_anew() -> bool:
        streams = await jetstream.streams_info()
        return any(stream.created != first_life for stream in streams)

    await eventually(made_anew)
    await engine.report(client, map(mixed_step, range(90, 120)))
    await engine.learned()
    assert engine.place == 10


async def test_the_stream_is_bounded_in_time_and_bytes(process, client):
    await process.ready()
    config = (await client.jetstream().stream_info(TELEMETRY_STREAM)).config
    assert (config.max_age, config.max_bytes, config.storage, config.discard) == (3600.0, 2**30, "file", "old")


async def test_redis_coming_back_empty_is_filled_again_also_for_idle_engines(process, store, client, engine):
    await process.ready()
    idle = Engine("idle", store.url)
    await idle.report(client, map(mixed_step, range(20)))
    await engine.report(client, map(mixed_step, range(100)))
    await idle.learned()
    await engine.learned()
    idle_before = idle.forecast
    store.kill()
    await engine.report(client, map(mixed_step, range(100, 150)))
    await eventually(lambda: "redis" in (process.problems or {}))
    store.start()
    await engine.learned()
    assert idle.forecast == idle_before, "its age is that of what was learned, not of the restart"
    await idle.learned()
    await process.ready()
    assert "Traceback" not in process.log.read_text()


async def test_it_waits_for_redis_and_nats_and_says_what_is_missing(process, broker, store, client, engine):
    process.end(signal.SIGKILL)
    broker.kill()
    store.kill()
    process.start()
    await eventually(lambda: set(process.problems or {}) == {"nats", "redis", "partitions"})
    assert process.get("/health/live")[0] == 200
    store.start()
    await eventually(lambda: set(process.problems or {}) == {"nats", "partitions"})
    broker.start()
    await process.ready()
    await eventually(lambda: client.is_connected)
    await engine.report(client, map(mixed_step, range(30)))
    await engine.learned()
    assert "Traceback" not in process.log.read_text()
