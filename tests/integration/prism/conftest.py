"""Prism with a real Redis and engines that can be told how to fail."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import redis.asyncio

from services.prism.__main__ import serve
from services.prism.rehearsal import rehearse
from services.prism.settings import PrismSettings
from shared.engine_state import EngineState
from shared.fleet_scripts import ANNOUNCE, LEAVE, MARK, announcement
from shared.forecast import Forecast
from shared.names import ENGINE_KEY_LIFETIME_S, engine_key, forecast_key
from shared.wire import encode
from tests.integration.prism.fake_engine import FakeEngine
from tests.integration.prism.replicas import Replica
from tests.servers import Server, eventually, free_port, redis_server
from tests.unit.prism.builders import MODEL

ANNOUNCED_EVERY_S = 0.3


@pytest.fixture(scope="session", autouse=True)
def compiled() -> None:
    """What decides is compiled before any test's time runs."""
    rehearse()


class Prism:
    """A running router, and a client of it."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.session = session

    def complete(
        self, *, headers: dict[str, str] | None = None, **fields: object
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A completion request."""
        body = {"model": MODEL, "prompt": "Say something.", "max_tokens": 8, **fields}
        return self.session.post(f"{self.url}/v1/completions", json=body, headers=headers)

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body."""
        async with self.session.get(self.url + path) as response:
            return response.status, await response.read()

    async def engines_in_pool(self) -> list[str]:
        """Names of the engines that the router sees."""
        _, body = await self.get("/v1/engines")
        return [engine["engine"] for engine in msgspec.json.decode(body)["engines"]]


class Announcer:
    """Stands in for lens and forecaster: writes what they would, as they would."""

    def __init__(self, url: str) -> None:
        self._redis = redis.asyncio.from_url(url)
        self._announce = self._redis.register_script(ANNOUNCE)
        self._leave = self._redis.register_script(LEAVE)
        self._mark = self._redis.register_script(f"{MARK} mark(time_us(), ARGV)")
        self._announcing: dict[str, asyncio.Task[None]] = {}

    async def announce(self, engine: FakeEngine, lifetime_s: float = 60, **changes: object) -> None:
        """Put an engine in the pool, and keep it there for so long unless something else is said of it."""
        self._forget(engine)
        await self._announce(args=announcement(engine.state(**changes)))
        again = self._again(engine.state(**changes), time.monotonic() + lifetime_s)
        self._announcing[engine.name] = asyncio.create_task(again)

    async def settle(self, engine: FakeEngine, dispatches: Iterable[str]) -> None:
        """Announce that it has heard of these."""
        await self._announce(args=announcement(engine.state(), dispatches))

    async def remove(self, engine: FakeEngine) -> None:
        """Let it leave."""
        self._forget(engine)
        await self._leave(args=[engine.name])

    async def forecast(self, forecast: Forecast) -> None:
        """Write a forecast."""
        seconds, microseconds = await self._redis.time()
        stamped = msgspec.structs.replace(forecast, written_at_s=seconds + microseconds / 1e6)
        await self.set_raw(forecast_key(forecast.engine), encode(stamped))

    async def set_raw(self, key: str, value: bytes) -> None:
        """Write what nobody should."""
        for engine in [name for name in self._announcing if key == engine_key(name)]:
            self._announcing.pop(engine).cancel()
        await self._redis.set(key, value)
        await self._mark(args=[key])

    async def keep_announcing(self, engines: list[FakeEngine]) -> None:
        """As lens does, with its lifetime, whatever becomes of Redis."""
        while True:
            with contextlib.suppress(redis.exceptions.RedisError, OSError):
                for engine in engines:
                    await self.announce(engine, ENGINE_KEY_LIFETIME_S)
            await asyncio.sleep(0.2)

    async def close(self) -> None:
        """Leave Redis."""
        for announcing in self._announcing.values():
            announcing.cancel()
        await self._redis.aclose()

    async def _again(self, state: EngineState, until_s: float) -> None:
        while time.monotonic() < until_s:
            await asyncio.sleep(ANNOUNCED_EVERY_S)
            with contextlib.suppress(redis.exceptions.RedisError, OSError):
                await self._announce(args=announcement(state))

    def _forget(self, engine: FakeEngine) -> None:
        if engine.name in self._announcing:
            self._announcing.pop(engine.name).cancel()


@pytest.fixture
def redis_process(tmp_path: Path) -> Iterator[Server]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
async def announcer(redis_process: Server) -> AsyncIterator[Announcer]:
    announcer = Announcer(redis_process.url)
    yield announcer
    await announcer.close()


@pytest.fixture
def prism_env() -> dict[str, object]:
    """Settings beyond the addresses; a test that needs others overrides it."""
    return {}


@pytest.fixture
async def prism(redis_process: Server, prism_env: dict[str, object]) -> AsyncIterator[Prism]:
    port = free_port()
    settings = PrismSettings.model_validate(
        {"port": port, "REDIS_URL": redis_process.url, "drain_s": 1, "replica": "r", **prism_env}
    )
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(settings, stop))
    async with aiohttp.ClientSession() as session:
        prism = Prism(port, session)

        async def is_live() -> bool:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                return (await prism.get("/health/live"))[0] == 200
            return False

        await eventually(is_live)
        yield prism
    stop.set()
    await serving


@pytest.fixture
async def fast() -> AsyncIterator[FakeEngine]:
    async with FakeEngine("fast").running() as engine:
        yield engine


@pytest.fixture
async def slow() -> AsyncIterator[FakeEngine]:
    async with FakeEngine("slow").running() as engine:
        yield engine


@pytest.fixture
async def two_engines(announcer: Announcer, fast: FakeEngine, slow: FakeEngine) -> tuple[FakeEngine, FakeEngine]:
    """Both healthy and in the pool; the one is foreseen to be five times as fast as the other."""
    for engine, base_ms in ((fast, 10.0), (slow, 50.0)):
        await announcer.announce(engine)
        await announcer.forecast(engine.forecast(base_ms=base_ms))
    return fast, slow


@pytest.fixture
async def replicas(redis_process: Server) -> AsyncIterator[list[Replica]]:
    started = [Replica(redis_process.url, f"r{number}") for number in range(4)]
    yield started
    for replica in started:
        replica.close()


@pytest.fixture
async def store(redis_process: Server) -> AsyncIterator[Any]:
    client: Any = redis.asyncio.from_url(redis_process.url)
    yield client
    await client.aclose()
