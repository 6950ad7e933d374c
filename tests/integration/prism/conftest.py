"""Prism with a real Redis and engines that can be told how to fail."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
import redis.asyncio

from services.prism.__main__ import serve
from services.prism.settings import PrismSettings
from shared.forecast import Forecast
from shared.names import ENGINE_KEY_LIFETIME_S, ENGINES_KEY, engine_key, forecast_key
from shared.wire import encode
from tests.integration.prism.fake_engine import FakeEngine
from tests.servers import Server, eventually, free_port, redis_server
from tests.unit.prism.builders import MODEL


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
    """Stands in for lens and forecaster: writes what they would, stamped by Redis TIME."""

    def __init__(self, url: str) -> None:
        self._redis = redis.asyncio.from_url(url)

    async def announce(self, engine: FakeEngine, lifetime_s: float = 60, **changes: object) -> None:
        """Put an engine in the pool, for longer than lens would, so that a slow machine cannot lose it."""
        seconds, microseconds = await self._redis.time()
        state = engine.state(announced_at_s=seconds + microseconds / 1e6, **changes)
        await self._redis.sadd(ENGINES_KEY, engine.name)
        await self._redis.set(engine_key(engine.name), encode(state), px=round(lifetime_s * 1e3))

    async def remove(self, engine: FakeEngine) -> None:
        """Let its key expire."""
        await self._redis.delete(engine_key(engine.name))

    async def forecast(self, forecast: Forecast) -> None:
        """Write a forecast."""
        seconds, microseconds = await self._redis.time()
        stamped = msgspec.structs.replace(forecast, written_at_s=seconds + microseconds / 1e6)
        await self._redis.set(forecast_key(forecast.engine), encode(stamped))

    async def set_raw(self, key: str, value: bytes) -> None:
        """Write what nobody should."""
        await self._redis.set(key, value)

    async def keep_announcing(self, engines: list[FakeEngine]) -> None:
        """As lens does, with its lifetime, whatever becomes of Redis."""
        while True:
            with contextlib.suppress(redis.exceptions.RedisError, OSError):
                for engine in engines:
                    await self.announce(engine, ENGINE_KEY_LIFETIME_S)
            await asyncio.sleep(0.2)

    async def close(self) -> None:
        """Leave Redis."""
        await self._redis.aclose()


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
