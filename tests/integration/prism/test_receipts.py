"""Clients learn what came of what they were promised, and Redis keeps it; nobody waits for that."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import openai
import pytest
import redis.asyncio
import redis.exceptions

from loadgen.sse import SseParser
from shared.names import RECEIPTS_STREAM_KEY
from shared.receipt import Receipt
from shared.wire import decode
from tests.integration.prism.conftest import Prism
from tests.integration.prism.fake_engine import FakeEngine, answer_status, hang, stream
from tests.servers import Server, eventually
from tests.unit.prism.builders import MODEL

Engines = tuple[FakeEngine, FakeEngine]

_EVENT = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"tiny","choices":[%s]%s}\n\n'
TEXTS = tuple(_EVENT % (b'{"index":0,"finish_reason":null,"delta":{"content":"%d"}}' % n, b"") for n in range(5))
LAST = (
    _EVENT % (b'{"index":0,"finish_reason":"length","delta":{}}', b"")
    + _EVENT % (b"", b',"usage":{"prompt_tokens":3,"completion_tokens":5,"total_tokens":8}')
    + b"data: [DONE]\n\n"
)


@pytest.fixture
async def receipts(redis_process: Server) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.from_url(redis_process.url)
    yield client
    await client.aclose()


async def _kept(client: redis.asyncio.Redis, count: int) -> list[Receipt]:
    async def are_there() -> bool:
        return await client.xlen(RECEIPTS_STREAM_KEY) >= count

    await eventually(are_there)
    entries: Any = await client.xrange(RECEIPTS_STREAM_KEY)
    return [decode(fields[b"receipt"], Receipt) for _, fields in entries]


async def test_an_answer_says_in_its_headers_on_what_it_was_routed(prism: Prism, two_engines: Engines) -> None:
    async with prism.complete() as response:
        assert float(response.headers["x-synergy-telemetry-age-ms"]) >= 0
        assert float(response.headers["x-synergy-route-ms"]) > 0
        assert "x-synergy-p-met" not in response.headers or 0 <= float(response.headers["x-synergy-p-met"]) <= 1


@pytest.mark.parametrize(
    "chunks",
    [
        (*TEXTS, LAST),
        (b"".join(TEXTS) + LAST,),
        tuple((b"".join(TEXTS) + LAST)[i : i + 37] for i in range(0, 2000, 37)),
    ],
    ids=["events", "at once", "torn"],
)
async def test_a_stream_ends_with_what_came_of_it_and_clients_pass_over_that(
    prism: Prism, two_engines: Engines, chunks: tuple[bytes, ...]
) -> None:
    for engine in two_engines:
        engine.behaviour = stream(*chunks)
    headers = {"x-slo-ttft-ms": "60000", "x-slo-tpot-ms": "60000"}
    async with prism.complete(stream=True, headers=headers) as response:
        answer = await response.read()
    [line] = [line for line in answer.split(b"\n") if line.startswith(b": synergy ")]
    told = msgspec.json.decode(line.removeprefix(b": synergy "))
    assert (told["engine"], told["met"]) == (response.headers["x-synergy-engine"], True)
    assert told["predicted_ttft_ms"] > 10
    assert told["ttft_ms"] > 0
    assert told["route_ms"] > 0
    assert answer.endswith(line + b"\n\ndata: [DONE]\n\n")
    plain = b"".join(TEXTS) + LAST
    assert list(SseParser().feed(answer)) == list(SseParser().feed(plain))

    async with openai.AsyncOpenAI(base_url=f"{prism.url}/v1", api_key="none", max_retries=0) as client:
        told_by_openai = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hello"}], stream=True
        )
        pieces = [piece async for piece in told_by_openai]
    assert "".join(choice.delta.content or "" for piece in pieces for choice in piece.choices) == "01234"
    assert len(pieces) == 7


async def test_redis_keeps_the_promise_with_what_came_of_it(
    prism: Prism, two_engines: Engines, receipts: redis.asyncio.Redis
) -> None:
    fast, slow = two_engines
    fast.behaviour = slow.behaviour = stream(*TEXTS, LAST)
    headers = {"x-slo-ttft-ms": "60000", "x-request-id": "mine", "x-synergy-tenant": "acme"}
    async with prism.complete(stream=True, headers=headers) as response:
        await response.read()
    [kept] = await _kept(receipts, 1)
    assert (kept.request_id, kept.tenant, kept.engine, kept.outcome) == (
        "mine",
        "acme",
        response.headers["x-synergy-engine"],
        "answered",
    )
    assert (kept.output_tokens, kept.met, kept.status, kept.tries) == (5, True, 200, 1)
    assert kept.ttft_ms is not None
    assert kept.sent_ms is not None
    assert 0 < kept.sent_ms < kept.ttft_ms <= kept.e2e_ms

    fast.behaviour = slow.behaviour = answer_status(429)
    async with prism.complete(headers=headers) as response:
        assert response.status == 429
    refused = (await _kept(receipts, 2))[1]
    assert (refused.refused, refused.met, refused.tries, refused.outcome) == (True, False, 2, "refused")

    fast.behaviour = slow.behaviour = hang
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), prism.complete(headers=headers):
            pass
    gone = (await _kept(receipts, 3))[2]
    assert (gone.outcome, gone.met, gone.status) == ("client-gone", None, 499)

    _, metrics = await prism.get("/metrics")
    assert 'prism_promises_total{outcome="kept",slo_class="default"} 1.0' in metrics.decode()
    assert 'prism_promises_total{outcome="broken",slo_class="default"} 1.0' in metrics.decode()


async def test_receipts_are_dropped_and_counted_while_redis_is_away_and_kept_when_it_is_back(
    prism: Prism, two_engines: Engines, redis_process: Server, receipts: redis.asyncio.Redis
) -> None:
    async def dropped() -> float:
        _, metrics = await prism.get("/metrics")
        [line] = [line for line in metrics.decode().splitlines() if line.startswith("prism_receipts_dropped_total")]
        return float(line.split()[1])

    async with prism.complete() as response:
        assert response.status == 200
    await _kept(receipts, 1)
    redis_process.stop()
    async with prism.complete() as response:
        assert response.status == 200

    async def is_dropped() -> bool:
        return await dropped() == 1

    await eventually(is_dropped)
    redis_process.start()

    async def is_kept_again() -> bool:
        async with prism.complete():  # the engines' keys are gone with the old Redis; a refusal has a receipt too
            pass
        with contextlib.suppress(redis.exceptions.ConnectionError):
            return bool(await receipts.xlen(RECEIPTS_STREAM_KEY))
        return False

    await eventually(is_kept_again)


@pytest.mark.parametrize("prism_env", [{"receipts": 0}])
async def test_none_are_kept_where_none_are_wanted(
    prism: Prism, two_engines: Engines, receipts: redis.asyncio.Redis
) -> None:
    async with prism.complete() as response:
        assert response.status == 200
    assert not await receipts.exists(RECEIPTS_STREAM_KEY)
