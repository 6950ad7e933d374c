"""What comes broken, twice or not at all is noticed, and harms nothing else."""

import signal

import pytest

from shared.names import SET_ASIDE_KEY, model_key, telemetry_subject, unreadable_model_key
from shared.telemetry import Telemetry
from shared.wire import encode
from tests.integration.forecaster.conftest import Engine, ForecasterProcess
from tests.servers import eventually
from tests.unit.forecaster.telemetry import decode_step, mixed_step

FAULTY = """
import runpy
from services.forecaster import {module}
def fail(*_arguments, **_more): raise RuntimeError("a fault within")
{module}.{name} = fail
runpy.run_module("services.forecaster", run_name="__main__")
"""
NESTED = b'{"x":' + b"[" * 1500 + b"]" * 1500 + b"}"
NEGATIVE = decode_step(30, batch_size=1, duration_ms=-4.0)


async def test_poison_is_set_aside_with_reason_and_place_and_the_rest_is_learned(process, contents, client, engine):
    await process.ready()
    jetstream = client.jetstream()
    await engine.report(client, map(mixed_step, range(30)))
    engine.sequence += 1
    message = Telemetry(engine="a", lens="x", sequence=engine.sequence, reports=(NEGATIVE, mixed_step(30)))
    engine.expected.observe(mixed_step(30))
    poison = {
        "unreadable": [b"", b"\xff\x00", b"{}", NESTED, encode(message).replace(b"-4.0", b"NaN"), b'{"v":99}'],
        "too_large": [b"[" * 1_000_000],
        "impossible_step": [encode(message)],
        "other_engine": [encode(message).replace(b'"a"', b'"b"')],
        "bad_report": [encode(message).replace(b'"step"', b'"unknown"').replace(b'"sequence":11', b'"sequence":12')],
    }
    engine.sequence += 1
    places = [
        (reason, str((await jetstream.publish(telemetry_subject("a"), data)).seq), data[:1024])
        for reason, messages in poison.items()
        for data in messages
    ]
    await engine.report(client, map(mixed_step, range(31, 60)))
    await engine.learned()
    entries = [fields for _, fields in contents.xrange(SET_ASIDE_KEY)]
    told = [(entry["reason"], entry["sequence"]) for entry in entries]
    assert told == [(reason, place) for reason, place, _ in places for _ in range(2 if reason == "bad_report" else 1)]
    assert all(entry["engine"] == "a" and entry["problem"] and len(entry["data"]) <= 1024 for entry in entries)
    _, metrics = process.get("/metrics")
    assert 'forecaster_set_aside_total{reason="unreadable"} 6.0' in metrics
    assert process.log.read_text().count("telemetry set aside") == len(poison)


async def test_duplicates_and_gaps_are_counted_and_harmless(process, client, engine):
    await process.ready()
    await engine.report(client, map(mixed_step, range(30)))
    again = Telemetry(engine="a", lens="x", sequence=engine.sequence, reports=(mixed_step(29),))
    for _ in range(3):
        await client.jetstream().publish(telemetry_subject("a"), encode(again))
    engine.sequence += 4
    await engine.report(client, map(mixed_step, range(30, 60)))
    await eventually(lambda: engine.steps_stored == 60)
    assert engine.stored.regressor == engine.expected.state.regressor
    _, metrics = process.get("/metrics")
    assert 'forecaster_duplicate_messages_total{engine="a"} 3.0' in metrics
    assert 'forecaster_lost_messages_total{engine="a"} 4.0' in metrics


async def test_a_stored_model_that_cannot_be_read_is_kept_aside_and_learned_anew(process, store, contents, client):
    await process.ready()
    of_a, no_text, no_model, of_another = engines = [Engine(name, store.url) for name in ("a", "b", "c", "d")]
    for engine in engines:
        await engine.report(client, map(mixed_step, range(30)))
    for engine in engines:
        await engine.learned()
    process.end(signal.SIGTERM)
    contents.set(model_key(no_text.name), b"\x80\x04pickle")
    contents.set(model_key(no_model.name), b'{"v":1,"engine":"c"}')
    contents.copy(model_key(of_a.name), model_key(of_another.name), replace=True)
    process.start()
    await process.ready()
    for engine in (no_text, no_model, of_another):
        assert contents.exists(unreadable_model_key(engine.name))
        await engine.report(client, [mixed_step(30)])
    for engine in engines:
        await engine.learned()
    assert process.log.read_text().count("stored model not readable") == 3


async def test_more_engines_than_allowed_are_refused_in_so_many_words(replicas, store, client):
    process = replicas("one", FORECASTER_MAX_ENGINES="2")
    await process.ready()
    engines = [Engine(name, store.url) for name in ("a", "b", "c")]
    for engine in engines[:2]:
        await engine.report(client, [mixed_step(1)])
        await engine.learned()
    await engines[2].report(client, [mixed_step(1)])
    await engines[0].report(client, [mixed_step(2)])
    await engines[0].learned()
    await eventually(lambda: "'c' is one more than the 2" in process.log.read_text())
    assert engines[2].forecast is None


async def test_without_models_in_redis_everything_is_learned_again_from_the_stream(process, contents, client, engine):
    await process.ready()
    await engine.report(client, map(mixed_step, range(60)))
    await engine.learned()
    process.end(signal.SIGKILL)
    contents.flushall()
    process.start()
    await engine.learned()


@pytest.mark.parametrize("broken", ["publish.make", "share.moves", "inbox.Inbox._read", "complaints.Complaints.note"])
async def test_a_fault_within_ends_the_whole_process_at_once(broker, store, tmp_path, client, broken):
    process = ForecasterProcess(broker.url, store.url, tmp_path)
    module, _, name = broken.partition(".")
    process.program = ["-c", FAULTY.format(module=module, name=name)]
    process.start()
    try:

        async def has_ended() -> bool:
            await client.publish(telemetry_subject("a"), NESTED)  # until there is a stream that has it
            return process.exit_status is not None

        await eventually(has_ended)
    finally:
        process.end(signal.SIGKILL)
    assert process.exit_status == 1
    assert "a fault within" in process.log.read_text()
