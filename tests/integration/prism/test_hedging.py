"""A request that is late for its first token is sent to a second engine that can still make it, and to no other."""

import asyncio
from typing import Any

import msgspec
import pytest
import redis.asyncio

from services.prism.receipt_log import FIELD
from shared.names import RECEIPTS_STREAM_KEY
from shared.receipt import Receipt
from shared.wire import decode
from tests.integration.prism.conftest import Announcer, Prism
from tests.integration.prism.fake_engine import FakeEngine, hang, stream
from tests.servers import Server, eventually

Engines = tuple[FakeEngine, FakeEngine]
TIGHT = {"x-slo-ttft-ms": "2000"}
LATE: dict[str, object] = {"hedge_share": 0.1}


@pytest.fixture
def prism_env() -> dict[str, object]:
    return LATE


@pytest.mark.parametrize("streams", [False, True])
async def test_a_late_engine_is_overtaken_by_another_and_its_request_is_cancelled(
    prism: Prism, two_engines: Engines, streams: bool
) -> None:
    fast, slow = two_engines
    fast.behaviour = hang
    if streams:
        slow.behaviour = stream(b"data: 1\n\n", b"data: [DONE]\n\n")
    async with asyncio.timeout(5), prism.complete(headers=TIGHT, stream=streams) as response:
        assert (response.status, response.headers["x-synergy-engine"]) == (200, "slow")
        assert await response.read()
    await asyncio.wait_for(fast.left.wait(), 2)
    assert (len(fast.asked), len(slow.asked)) == (1, 1)
    _, body = await prism.get("/metrics")
    for line in (
        'prism_hedges_total{engine="slow"} 1.0',
        'prism_hedges_won_total{engine="slow"} 1.0',
        'prism_engine_outstanding_requests{engine="fast"} 0.0',
        'prism_engine_breaker{engine="fast",state="closed"} 1.0',
    ):
        assert line in body.decode()


async def test_a_second_engine_is_held_to_what_it_took_since_it_was_asked(
    prism: Prism, two_engines: Engines, redis_process: Server
) -> None:
    fast, slow = two_engines
    fast.behaviour, slow.behaviour = hang, stream(b"data: 1\n\n", b"data: [DONE]\n\n")
    async with asyncio.timeout(5), prism.complete(headers=TIGHT, stream=True) as response:
        await response.read()
    client: Any = redis.asyncio.from_url(redis_process.url)

    async def is_written() -> bool:
        return bool(await client.xlen(RECEIPTS_STREAM_KEY))

    await eventually(is_written)
    [(_, fields)] = await client.xrange(RECEIPTS_STREAM_KEY)
    await client.aclose()
    receipt = decode(fields[FIELD.encode()], Receipt)
    assert (receipt.engine, receipt.tries) == ("slow", 2)
    assert receipt.sent_ms is not None
    assert receipt.sent_ms >= 200


async def test_without_a_target_nothing_is_late(prism: Prism, two_engines: Engines) -> None:
    fast, slow = two_engines
    fast.behaviour = hang
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), prism.complete():
            pass
    await asyncio.wait_for(fast.left.wait(), 2)
    assert not slow.asked


async def test_an_engine_that_would_be_late_as_well_is_not_asked(
    prism: Prism, two_engines: Engines, announcer: Announcer
) -> None:
    fast, slow = two_engines
    await announcer.forecast(slow.forecast(base_ms=5000.0))
    fast.behaviour = hang
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), prism.complete(headers=TIGHT):
            pass
    assert not slow.asked


class TestWithoutRetries:
    @pytest.fixture
    def prism_env(self) -> dict[str, object]:
        return {**LATE, "retry_share": 0, "retry_floor": 0}

    async def test_a_second_request_counts_as_a_retry(self, prism: Prism, two_engines: Engines) -> None:
        fast, slow = two_engines
        fast.behaviour = hang
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), prism.complete(headers=TIGHT):
                pass
        assert not slow.asked


async def test_a_client_that_leaves_cancels_both_requests(prism: Prism, two_engines: Engines) -> None:
    for engine in two_engines:
        engine.behaviour = hang
    client = asyncio.create_task(_ask(prism))
    await eventually(lambda: all(engine.asked for engine in two_engines))
    client.cancel()
    for engine in two_engines:
        await asyncio.wait_for(engine.left.wait(), 2)

    async def nothing_is_outstanding() -> bool:
        _, body = await prism.get("/v1/engines")
        return not any(engine["outstanding_requests"] for engine in msgspec.json.decode(body)["engines"])

    await eventually(nothing_is_outstanding)


async def _ask(prism: Prism) -> None:
    async with prism.complete(headers=TIGHT):
        pass
