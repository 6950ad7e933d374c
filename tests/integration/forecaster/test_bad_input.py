"""What comes broken, twice or not at all is noticed, and harms nothing else."""

import signal

from shared.names import SET_ASIDE_KEY, model_key, telemetry_subject, unreadable_model_key
from shared.telemetry import Telemetry
from shared.wire import encode
from tests.integration.forecaster.conftest import Engine
from tests.servers import eventually
from tests.unit.forecaster.telemetry import decode_step, mixed_step

NEGATIVE = decode_step(30, batch_size=1, duration_ms=-4.0)


async def test_poison_is_set_aside_with_reason_and_place_and_the_rest_is_learned(process, contents, client, engine):
    await process.ready()
    jetstream = client.jetstream()
    await engine.report(client, map(mixed_step, range(30)))
    engine.sequence += 1
    message = Telemetry(engine="a", lens="x", sequence=engine.sequence, reports=(NEGATIVE, mixed_step(30)))
    engine.expected.observe(mixed_step(30))
    poison = {
        "unreadable": [b"", b"\xff\x00", b"{}", encode(message).replace(b"-4.0", b"NaN"), b'{"v":99}'],
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
    assert 'forecaster_set_aside_total{reason="unreadable"} 5.0' in metrics
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
    _, no_text, no_model = engines = [Engine(name, store.url) for name in ("a", "b", "c")]
    for engine in engines:
        await engine.report(client, map(mixed_step, range(30)))
    for engine in engines:
        await engine.learned()
    process.end(signal.SIGTERM)
    contents.set(model_key(no_text.name), b"\x80\x04pickle")
    contents.set(model_key(no_model.name), b'{"v":1,"engine":"c"}')
    process.start()
    await process.ready()
    for engine in (no_text, no_model):
        assert contents.exists(unreadable_model_key(engine.name))
        await engine.report(client, [mixed_step(30)])
    for engine in engines:
        await engine.learned()
    assert process.log.read_text().count("stored model not readable") == 2


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
