"""Engines fail, clients leave: unnoticed where that is possible, else said cleanly."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

import msgspec
import pytest
from aiohttp import web

from tests.integration.prism.conftest import Announcer, Prism
from tests.integration.prism.fake_engine import (
    Behaviour,
    FakeEngine,
    answer_json,
    answer_status,
    drop,
    drop_after_flush,
    hang,
    stream,
    truncated_json,
)
from tests.servers import eventually

Engines = tuple[FakeEngine, FakeEngine]


@pytest.mark.parametrize("behaviour", [drop, answer_status(503), answer_status(502), stream(then=drop)])
async def test_an_engine_that_fails_before_the_first_byte_is_not_noticed(
    prism: Prism, two_engines: Engines, behaviour: Behaviour
) -> None:
    fast, slow = two_engines
    fast.behaviour = behaviour
    async with prism.complete() as response:
        assert response.status == 200
        assert response.headers["x-synergy-engine"] == "slow"
    assert (len(fast.asked), len(slow.asked)) == (1, 1)


async def test_a_request_that_is_handed_back_goes_to_another_engine_at_once(prism: Prism, two_engines: Engines) -> None:
    fast, slow = two_engines
    fast.behaviour = answer_status(503, retry_after="30", retry_after_ms="30000")
    async with asyncio.timeout(5), prism.complete(stream=True) as response:
        assert (response.status, response.headers["x-synergy-engine"]) == (200, "slow")
        assert "retry-after" not in response.headers
    assert (len(fast.asked), len(slow.asked)) == (1, 1)
    async with prism.complete() as response:  # the first is passed over for a while
        assert response.headers["x-synergy-engine"] == "slow"


async def test_an_engine_that_is_dead_is_not_noticed_and_passed_over_by_the_next(
    prism: Prism, announcer: Announcer, slow: FakeEngine
) -> None:
    dead = FakeEngine("dead")  # announced but not running
    for engine, base_ms in ((dead, 10.0), (slow, 50.0)):
        await announcer.announce(engine)
        await announcer.forecast(engine.forecast(base_ms=base_ms))
    for _ in range(2):
        async with prism.complete() as response:
            assert response.status == 200
            assert response.headers["x-synergy-engine"] == "slow"
    _, body = await prism.get("/metrics")
    assert 'prism_retries_total{engine="dead"} 1.0' in body.decode()


async def test_an_engine_that_failed_is_shown_as_passed_over_until_it_has_answered(
    prism: Prism, announcer: Announcer, two_engines: Engines
) -> None:
    fast, slow = two_engines
    fast.behaviour = drop
    async with prism.complete() as response:
        assert response.headers["x-synergy-engine"] == "slow"
    assert await _breakers(prism) == {"fast": "open", "slow": "closed"}
    _, body = await prism.get("/metrics")
    assert 'prism_engine_breaker{engine="fast",state="open"} 1.0' in body.decode()
    await announcer.remove(slow)  # what is passed over is better than nothing
    fast.behaviour = answer_json
    async with prism.complete() as response:
        assert (response.status, response.headers["x-synergy-engine"]) == (200, "fast")
    assert await _breakers(prism) == {"fast": "closed"}


async def _breakers(prism: Prism) -> dict[str, str]:
    _, body = await prism.get("/v1/engines")
    return {engine["engine"]: engine["breaker"] for engine in msgspec.json.decode(body)["engines"]}


async def test_an_engine_that_takes_no_connection_is_given_up_after_a_second(
    prism: Prism, announcer: Announcer, slow: FakeEngine
) -> None:
    deaf = FakeEngine("deaf")
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.create_server(("127.0.0.1", deaf.port), backlog=0))
        for _ in range(2):  # what it has room for; nobody accepts
            client = sockets.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        for engine, base_ms in ((deaf, 10.0), (slow, 50.0)):
            await announcer.announce(engine)
            await announcer.forecast(engine.forecast(base_ms=base_ms))
        began_s = time.monotonic()
        async with prism.complete() as response:
            assert (response.status, response.headers["x-synergy-engine"]) == (200, "slow")
        assert 0.9 < time.monotonic() - began_s < 5


class TestWithFewRetries:
    @pytest.fixture
    def prism_env(self) -> dict[str, object]:
        return {"retry_share": 0.0, "retry_floor": 1.5}

    @pytest.mark.parametrize(("status", "told"), [(503, 503), (429, 429)])
    async def test_the_first_failure_is_the_answer_once_the_budget_is_spent(
        self, prism: Prism, two_engines: Engines, status: int, told: int
    ) -> None:
        for engine in two_engines:
            engine.behaviour = answer_status(status)
        async with prism.complete() as response:
            assert response.status == told
        assert sum(len(engine.asked) for engine in two_engines) == 2
        async with prism.complete() as response:
            assert (response.status, response.headers["retry-after"]) == (told, "1")
            assert (await response.json())["error"]["code"] == ("engines_full" if told == 429 else "engines_away")
        assert sum(len(engine.asked) for engine in two_engines) == 3
        _, body = await prism.get("/metrics")
        assert "prism_retries_refused_total 2.0" in body.decode()  # once there was nobody left to ask either


async def test_a_kept_connection_that_the_engine_closes_unused_is_replaced_and_not_held_against_it(
    prism: Prism, two_engines: Engines
) -> None:
    fast, slow = two_engines
    peers: list[object] = []

    async def answer_once_a_connection(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")
        if peer in peers:
            return await drop(request)
        peers.append(peer)
        return await answer_json(request)

    fast.behaviour = answer_once_a_connection
    for _ in range(3):
        async with prism.complete() as response:
            assert (response.status, response.headers["x-synergy-engine"]) == (200, "fast")
            await response.read()
    assert (len(peers), len(fast.asked), len(slow.asked)) == (3, 5, 0)


async def test_connections_are_used_again_by_one_request_at_a_time(prism: Prism, two_engines: Engines) -> None:
    fast, _ = two_engines
    peers: list[object] = []

    async def note_peer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return await answer_json(request)

    fast.behaviour = note_peer
    for _ in range(3):
        async with prism.complete() as response:
            await response.read()
    assert len(set(peers)) == 1
    fast.behaviour = stream(b"data: 1\n\n", then=hang)
    async with prism.complete(stream=True) as response:
        assert await response.content.readany() == b"data: 1\n\n"
        fast.behaviour = note_peer
        async with prism.complete() as other:
            assert other.status == 200
    await asyncio.wait_for(fast.left.wait(), 5)
    assert len(set(peers)) == 2  # what was not read to its end is not used again


async def test_when_every_engine_fails_the_client_is_told_to_come_again(prism: Prism, two_engines: Engines) -> None:
    for engine in two_engines:
        engine.behaviour = drop
    async with prism.complete() as response:
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        assert "fast, slow" in (await response.json())["error"]["message"]


@pytest.mark.parametrize("status", [400, 404, 413, 500])
async def test_what_lens_refuses_is_passed_on_as_it_is(prism: Prism, two_engines: Engines, status: int) -> None:
    fast, slow = two_engines
    fast.behaviour = answer_status(status, retry_after="7")
    async with prism.complete() as response:
        assert response.status == status
        assert response.headers["retry-after"] == "7"
        assert (await response.json())["error"]["message"] == "no"
    assert not slow.asked


async def test_a_full_engine_leaves_the_request_to_another_and_is_not_held_against_it(
    prism: Prism, two_engines: Engines
) -> None:
    fast, slow = two_engines
    fast.behaviour = answer_status(429)
    async with prism.complete() as response:
        assert (response.status, response.headers["x-synergy-engine"]) == (200, "slow")
    fast.behaviour, slow.behaviour = slow.behaviour, fast.behaviour
    async with prism.complete() as response:
        assert (response.status, response.headers["x-synergy-engine"]) == (200, "fast")


async def test_where_every_engine_is_full_the_client_is_told_to_come_back(prism: Prism, two_engines: Engines) -> None:
    fast, slow = two_engines
    fast.behaviour = answer_status(429, retry_after_ms="7000")
    slow.behaviour = answer_status(429, retry_after_ms="2500")
    async with prism.complete() as response:
        assert response.status == 429
        assert (response.headers["retry-after"], response.headers["retry-after-ms"]) == ("3", "2500")
        assert (await response.json())["error"]["code"] == "engines_full"


@pytest.mark.parametrize("said", ["soon", "nan", "-5", "1e9"])
async def test_an_engine_that_does_not_say_when_to_come_back_is_asked_again_after_a_second(
    prism: Prism, two_engines: Engines, said: str
) -> None:
    for engine in two_engines:
        engine.behaviour = answer_status(429, retry_after_ms=said)
    async with prism.complete() as response:
        assert (response.status, response.headers["retry-after-ms"]) == (429, "1000")


async def test_a_stream_is_passed_on_byte_for_byte_but_for_the_comment_before_its_end_mark(
    prism: Prism, two_engines: Engines
) -> None:
    fast, _ = two_engines
    chunks = (b"data: {}\n\n", b": comment\n\ndata: {", b'"a": 1}\n', b"\ndata: [DONE]\n\n")
    fast.behaviour = stream(*chunks)
    async with prism.complete(stream=True) as response:
        assert response.content_type == "text/event-stream"
        answer = await response.read()
    before, comment = answer.removesuffix(b"data: [DONE]\n\n").split(b": synergy ")
    assert before + b"data: [DONE]\n\n" == b"".join(chunks)
    assert comment.endswith(b"}\n\n")


async def test_an_engine_that_breaks_off_a_stream_ends_it_with_one_clean_error(
    prism: Prism, two_engines: Engines
) -> None:
    fast, slow = two_engines
    fast.behaviour = stream(b'data: {"a": 1}\n\n', b'data: {"torn', then=drop_after_flush)
    async with prism.complete(stream=True) as response:
        assert response.status == 200
        *events, last = (await response.read()).decode().split("\n\n")
    assert last == ""
    assert events[0] == 'data: {"a": 1}'
    error = msgspec.json.decode(events[1].removeprefix("data: "))["error"]
    assert (error["code"], error["message"]) == ("engine_failed", "the engine broke off while answering")
    assert len(events) == 2
    assert not slow.asked


async def test_an_engine_that_breaks_off_an_answer_in_one_piece_is_a_502(prism: Prism, two_engines: Engines) -> None:
    fast, slow = two_engines
    fast.behaviour = truncated_json(b'{"object"', 100)
    async with prism.complete() as response:
        assert response.status == 502
        assert (await response.json())["error"]["code"] == "engine_failed"
    assert not slow.asked


@pytest.mark.parametrize("streams", [False, True])
async def test_an_engine_that_freezes_and_leaves_the_pool_is_replaced_unnoticed(
    prism: Prism, announcer: Announcer, two_engines: Engines, streams: bool
) -> None:
    fast, slow = two_engines
    fast.behaviour = hang
    request = asyncio.create_task(_engine_that_answers(prism, streams=streams))
    await eventually(lambda: fast.asked)
    await announcer.remove(fast)
    assert await asyncio.wait_for(request, 10) == slow.name
    await asyncio.wait_for(fast.left.wait(), 2)


async def _engine_that_answers(prism: Prism, *, streams: bool) -> str:
    async with prism.complete(stream=streams) as response:
        assert response.status == 200
        return response.headers["x-synergy-engine"]


@pytest.mark.parametrize("prism_env", [{"idle_s": 0.3, "answer_s": 0.3}])
async def test_a_silent_engine_is_given_up(prism: Prism, two_engines: Engines) -> None:
    fast, slow = two_engines
    fast.behaviour = hang
    async with prism.complete() as response:
        assert response.status == 502
        assert "silent for too long" in (await response.json())["error"]["message"]
    slow.behaviour = stream(b"data: 1\n\n", then=hang)
    async with prism.complete(stream=True) as response:  # and passed over for a while
        assert b"silent for too long" in await response.read()
    for engine in two_engines:
        await asyncio.wait_for(engine.left.wait(), 5)


@pytest.mark.parametrize(
    ("behaviour", "streams"), [(hang, False), (hang, True), (stream(b"data: 1\n\n", then=hang), True)]
)
async def test_a_client_that_leaves_cancels_its_request_at_the_engine(
    prism: Prism, two_engines: Engines, behaviour: Behaviour, streams: bool
) -> None:
    fast, _ = two_engines
    fast.behaviour = behaviour
    client = asyncio.create_task(_read_for_ever(prism, streams=streams))
    await eventually(lambda: fast.asked)
    assert not fast.left.is_set()
    client.cancel()
    await asyncio.wait_for(fast.left.wait(), 2)


async def _read_for_ever(prism: Prism, *, streams: bool) -> None:
    async with prism.complete(stream=streams) as response:
        await response.read()


async def test_memory_stays_bounded_when_a_client_reads_nothing(prism: Prism, two_engines: Engines) -> None:
    fast, _ = two_engines
    written = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        event = b"data: " + b"x" * 16_000 + b"\n\n"
        while True:
            await response.write(event)
            written += len(event)

    fast.behaviour = flood
    async with prism.complete(stream=True) as response:
        assert response.status == 200
        await _stands_still(lambda: written)
        assert written < 32 * 2**20
    await asyncio.wait_for(fast.left.wait(), 5)


@pytest.mark.parametrize("prism_env", [{"idle_s": 0.5}])
async def test_a_client_that_reads_nothing_for_too_long_is_taken_for_one_that_left(
    prism: Prism, two_engines: Engines
) -> None:
    fast, _ = two_engines
    fast.behaviour = stream(*[b"data: " + b"x" * 100_000 + b"\n\n"] * 1000)
    async with prism.complete(stream=True) as response:
        assert response.status == 200
        await asyncio.wait_for(fast.left.wait(), 10)


async def _stands_still(value: Callable[[], int]) -> None:
    """Until it is above nothing and the same over 0.3 s."""
    deadline_s = time.monotonic() + 10
    before = 0
    while not before or value() != before:
        assert time.monotonic() < deadline_s
        before = value()
        await asyncio.sleep(0.3)
