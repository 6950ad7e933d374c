"""The fleet is read anew for each request, and what Redis has lost is not taken for engines that have left."""

import asyncio
from typing import Any, cast

import msgspec

from services.prism.forecasts import FleetReader
from services.prism.mirror import Mirror
from services.prism.scripts import Scripts
from shared.fleet_scripts import Changes
from shared.lifecycle import Readiness
from shared.names import ENGINE_KEY_LIFETIME_S, engine_key
from shared.wire import encode
from tests.unit.prism.builders import state

NOW_US = 1_000_000_000


class FakeScripts:
    """Answers with what it is told to."""

    connections = 1

    def __init__(self) -> None:
        self.answer: Changes

    async def connect(self) -> None: ...

    def call(self, *_: object) -> asyncio.Future[bytes]:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        answer.set_result(msgspec.msgpack.encode(self.answer))
        return answer


class Reading:
    """A reader, its Redis and its clock."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.scripts = FakeScripts()
        self._reader = FleetReader(
            cast("Scripts", self.scripts), Mirror(), Readiness(), lambda: None, clock=lambda: self.now_s
        )

    async def everything(self, *engines: str, life: str) -> list[str]:
        """Which engines there are after a read of all that Redis has."""
        values: list[Any] = [encode(state(name, announced_at_s=NOW_US / 1e6)).decode() for name in engines]
        packed = [msgspec.Raw(msgspec.msgpack.encode(value)) for value in values]
        self.scripts.answer = Changes(NOW_US, NOW_US, life, True, [engine_key(name) for name in engines], packed)
        return [engine.state.engine for engine in (await self._reader.read()).engines]


async def test_engines_that_a_redis_without_memory_does_not_know_have_time_to_announce_themselves() -> None:
    reading = Reading()
    assert await reading.everything("a", "b", life="life:1") == ["a", "b"]
    assert await reading.everything(life="") == ["a", "b"]
    assert await reading.everything("a", life="life:2") == ["a", "b"]
    reading.now_s += ENGINE_KEY_LIFETIME_S
    assert await reading.everything("a", life="life:2") == ["a"]


async def test_an_engine_that_is_not_there_any_more_is_gone_at_once_where_redis_has_lost_nothing() -> None:
    reading = Reading()
    assert await reading.everything("a", "b", life="life:1") == ["a", "b"]
    assert await reading.everything("a", life="life:1") == ["a"]
