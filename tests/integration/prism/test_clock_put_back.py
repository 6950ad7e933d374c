"""What was written before Redis' clock was put back does not stay until the clock has caught up."""

from typing import Any

import pytest
import redis.asyncio

from services.lens.fleet import Fleet
from services.prism.grants import RateLimit
from services.prism.rate_limits import RateLimits
from services.prism.rate_sharing import RateSharing
from shared.engine_state import DUE_INTERVALS
from shared.lifecycle import Readiness
from shared.names import RESERVATION_LIFETIME_S, rate_key, reserved_key
from tests.servers import Server
from tests.unit.prism.builders import state


async def test_a_reservation_from_the_future_is_dropped(redis_process: Server) -> None:
    client: Any = redis.asyncio.from_url(redis_process.url, decode_responses=True)
    seconds, _ = await client.time()
    lens = Fleet(redis_process.url, "e", Readiness())
    of_none: dict[str, Any] = {
        f"{what}#{number + 1}": 0 for what in ("requests", "prompt_tokens") for number in range(DUE_INTERVALS)
    }
    old, new = (f"{(seconds + ahead_s) * 1_000_000}:10:1" for ahead_s in (RESERVATION_LIFETIME_S + 60, 0))
    written = {**of_none, "requests#1": 2, "prompt_tokens#1": 20, "r:1": old, "r:2": new}
    await client.hset(reserved_key("e"), mapping=written)
    assert await lens.announce(state("e"))
    left = await client.hgetall(reserved_key("e"))
    assert {name: left[name] for name in left if left[name] != "0"} == {
        "requests#1": "1",
        "prompt_tokens#1": "10",
        "r:2": new,
    }
    await lens.leave()
    await client.aclose()


async def test_a_key_owes_no_more_than_it_did(redis_process: Server) -> None:
    limit, limits = RateLimit(requests_per_s=0.01, burst=4), RateLimits()
    async with redis.asyncio.from_url(redis_process.url) as store:
        seconds, _ = await store.time()
        written_s = seconds + 3600
        owed_s = 200
        await store.set(rate_key("k"), f"{(written_s + owed_s) * 1_000_000}:{written_s * 1_000_000}")
        assert limits.take("k", limit, 0.0).allowed
        await RateSharing(store, limits, clock=lambda: 0.0).share()
        assert limits.take("k", limit, 0.0).remaining == 0  # two by others, one before and this one
        assert limits.take("k", limit, 0.0).retry_after_s == pytest.approx(100)
        assert await store.pttl(rate_key("k")) <= 300_001
