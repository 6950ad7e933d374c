"""Redis goes and comes back: requests are served throughout, and readiness and metrics say what is missing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.integration.prism.conftest import Announcer, Prism
from tests.integration.prism.fake_engine import FakeEngine
from tests.servers import Server, eventually

Engines = tuple[FakeEngine, FakeEngine]


@pytest.fixture
async def announced(announcer: Announcer, two_engines: Engines) -> AsyncIterator[None]:
    announcing = asyncio.create_task(announcer.keep_announcing(list(two_engines)))
    yield
    announcing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await announcing


async def test_requests_are_served_while_redis_is_away_and_when_it_is_back(
    prism: Prism, redis_process: Server, announced: None
) -> None:
    assert await _readiness(prism) == (200, {"status": "ready", "problems": {}})
    reasons = set()

    redis_process.stop()
    assert await _served(prism) == "least-predicted"  # by what was last read
    status, readiness = await _readiness(prism)
    assert (status, list(readiness["problems"])) == (200, ["redis"])

    async def has_grown_stale() -> bool:
        reasons.add(await _served(prism))
        return "least-outstanding" in reasons

    await eventually(has_grown_stale)
    _, metrics = await prism.get("/metrics")
    failures = [line for line in metrics.decode().splitlines() if line.startswith("prism_redis_failures_total")]
    assert float(failures[0].split()[1]) >= 1

    redis_process.start()  # empty

    async def is_back() -> bool:
        assert await _served(prism)  # not even the empty pool of a new Redis is noticed
        _, readiness = await _readiness(prism)
        return not readiness["problems"]

    await eventually(is_back)
    assert await _served(prism) == "least-predicted"  # the forecasts last read stay in use


async def test_a_router_that_never_saw_redis_says_so(prism_without_redis: Prism) -> None:
    async with prism_without_redis.complete() as response:
        assert response.status == 503
        assert "Redis is away" in (await response.json())["error"]["message"]
    status, readiness = await _readiness(prism_without_redis)
    assert status == 503
    assert set(readiness["problems"]) == {"redis", "engines"}


@pytest.fixture
def stopped_redis(redis_process: Server) -> None:
    redis_process.stop()


@pytest.fixture
async def prism_without_redis(stopped_redis: None, prism: Prism) -> Prism:
    return prism


async def _served(prism: Prism) -> str:
    async with prism.complete() as response:
        assert response.status == 200
        return response.headers["x-synergy-route-reason"]


async def _readiness(prism: Prism) -> tuple[int, dict[str, Any]]:
    status, body = await prism.get("/health/ready")
    return status, msgspec.json.decode(body)
