"""A Redis that is full refuses what takes memory, but the pool lives in it: engines stay, and room on them is reserved."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio
import redis.exceptions

from services.lens.fleet import Fleet
from services.prism.dispatches import Dispatch
from services.prism.forecasts import FleetReader
from services.prism.mirror import Mirror
from services.prism.reservations import Reservations
from services.prism.scripts import Scripts
from shared.fleet_scripts import CHANGED, RELEASE, RESERVE
from shared.lifecycle import Readiness
from tests.servers import Server
from tests.unit.prism.builders import state


@pytest.fixture
async def full(redis_process: Server) -> AsyncIterator[str]:
    client: Any = redis.asyncio.from_url(redis_process.url)
    await client.config_set("maxmemory", 1)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        await client.set("anything", "")
    yield redis_process.url
    await client.aclose()


async def test_engines_announce_themselves_in_a_redis_that_is_full_and_say_what_they_could_not_write(full: str) -> None:
    readiness = Readiness("redis")
    lens, scripts = Fleet(full, "e", readiness), Scripts(full, (CHANGED,), timeout_s=5.0)
    reader = FleetReader(scripts, Mirror(), Readiness(), lambda: None)
    for decode_seqs in (1, 2):
        assert await lens.share_prefixes(frozenset({"a block"}))
        assert await lens.announce(state("e", decode_seqs=decode_seqs))
        assert [engine.state.decode_seqs for engine in (await reader.read()).engines] == [decode_seqs]
    assert readiness.problems.keys() == {"prefixes"}
    scripts.close()
    await lens.leave()


async def test_room_is_reserved_in_a_redis_that_is_full(full: str) -> None:
    scripts = Scripts(full, (CHANGED, RESERVE, RELEASE), timeout_s=5.0)
    await scripts.connect()
    reservations = Reservations(scripts, Mirror(), "r", lambda: None)
    for number in (1, 2):
        reserved = await reservations.reserve(Dispatch("e", number, 10, 0.0, 0))
        assert reserved is not None
        assert (reserved.requests, reserved.prompt_tokens) == (number, 10 * number)
    scripts.close()
