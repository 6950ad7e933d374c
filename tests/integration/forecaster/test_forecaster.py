import signal
import time

import pytest

from shared.forecast import ModelHealth
from shared.names import (
    REQUESTS_STREAM_KEY,
    TELEMETRY_STREAM,
    forecast_key,
    steps_stream_key,
    telemetry_subject,
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


async def test_steps_and_requests_become_time_series(process, contents, client, engine):
    await process.ready()
    await engine.report(client, [*map(mixed_step, range(40)), REQUEST, IdleReport(idle_s=1.0)])
    await engine.learned()
    steps = [fields for _, fields in contents.xrange(steps_stream_key("a"))]
    assert [int(fields["step"]) for fields in steps] == list(range(40))
    assert float(steps[39]["actual_ms"]) == pytest.approx(mixed_step(39).duration_ms, rel=0.05)
    assert float(steps[39]["predicted_ms"]) == pytest.approx(mixed_step(39).duration_ms, rel=0.05)
    (_, request), *others = contents.xrange(REQUESTS_STREAM_KEY)
    assert not others
    assert request["engine"] == "a"
    assert request["ttft_ms"] == "120.5"
    assert request["outcome"] == "stop"
    assert "tpot_ms" not in request


async def test_the_time_series_of_steps_is_capped(process, contents, client, engine):
    await process.ready()
    for first in range(0, 2000, 500):
        await engine.report(client, map(mixed_step, range(first, first + 500)))
        await engine.learned()
    assert 1000 <= contents.xlen(steps_stream_key("a")) < 1500


async def test_a_killed_forecaster_goes_on_with_nothing_learned_twice_or_forgotten(process, client, engine):
    await process.ready()
    await engine.report(client, map(mixed_step, range(200)))
    await eventually(lambda: engine.forecast is not None)
    process.end(signal.SIGKILL)
    learned_before = engine.stored.steps_learned
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
    assert process.log.read_text().count('"from_sequence": 1,') == 1
    assert silent.stored.position < engine.stored.position


async def test_sigterm_writes_the_last_state_and_leaves_nothing_behind(process, client, engine):
    await process.ready()
    await engine.report(client, map(mixed_step, range(100)))
    await eventually(lambda: engine.forecast is not None)
    began_s = time.monotonic()
    assert process.end(signal.SIGTERM) == 0
    assert time.monotonic() - began_s < 4
    assert not list(process.directory.rglob("*"))
    at_exit = engine.stored.steps_learned
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
    (consumer,) = await jetstream.consumers_info(TELEMETRY_STREAM)
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
    assert engine.stored.position == 10


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


async def test_what_cannot_be_decoded_is_counted_and_skipped(process, client, engine):
    await process.ready()
    jetstream = client.jetstream()
    await engine.report(client, map(mixed_step, range(30)))
    for garbage in (
        b"",
        b"\xff\x00",
        b"{}",
        b'{"v":99,"engine":"a","lens":"x","sequence":1,"reports":[]}',
        b"[" * 5000,
    ):
        await jetstream.publish(telemetry_subject("a"), garbage)
    await jetstream.publish(telemetry_subject("other"), b'{"v":1,"engine":"a","lens":"x","sequence":999,"reports":[]}')
    await engine.report(client, map(mixed_step, range(30, 60)))
    await engine.learned()
    _, metrics = process.get("/metrics")
    assert "forecaster_unreadable_messages_total 6.0" in metrics
    assert 'forecaster_steps_learned_total{engine="a"} 60.0' in metrics
    assert process.log.read_text().count("telemetry not readable") == 1


async def test_it_waits_for_redis_and_nats_and_says_what_is_missing(process, broker, store, client, engine):
    process.end(signal.SIGKILL)
    broker.kill()
    store.kill()
    process.start()
    await eventually(lambda: set(process.problems or {}) == {"nats", "redis"})
    assert process.get("/health/live")[0] == 200
    store.start()
    await eventually(lambda: set(process.problems or {}) == {"nats"})
    broker.start()
    await process.ready()
    await eventually(lambda: client.is_connected)
    await engine.report(client, map(mixed_step, range(30)))
    await engine.learned()
    assert "Traceback" not in process.log.read_text()
