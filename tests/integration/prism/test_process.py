"""The process as it is run: it starts from its environment, and on SIGTERM lets its streams finish and leaves with 0."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiohttp import web

from tests.integration.prism.conftest import Prism
from tests.integration.prism.fake_engine import FakeEngine, hang, stream
from tests.servers import Server, eventually, free_port

Engines = tuple[FakeEngine, FakeEngine]
FIRST = b"data: 1\n\n"


@contextlib.asynccontextmanager
async def _process(log: Path, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.prism", env={**os.environ, **environment}, stderr=stderr
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _is_live(prism: Prism) -> bool:
    with contextlib.suppress(aiohttp.ClientConnectionError):
        return (await prism.get("/health/live"))[0] == 200
    return False


async def test_sigterm_lets_a_stream_finish_takes_nothing_new_and_leaves_with_0(
    redis_process: Server, two_engines: Engines, tmp_path: Path
) -> None:
    fast, _ = two_engines
    finish = asyncio.Event()

    async def until_told(request: web.Request) -> web.StreamResponse:
        await finish.wait()
        return web.Response()

    fast.behaviour = stream(FIRST, then=until_told)
    port, log = free_port(), tmp_path / "prism.log"
    async with (
        _process(log, PRISM_PORT=str(port), REDIS_URL=redis_process.url) as process,
        aiohttp.ClientSession() as session,
    ):
        prism = Prism(port, session)
        await eventually(lambda: _is_live(prism))
        async with prism.complete(stream=True, headers={"x-request-id": "last-one"}) as response:
            assert await response.content.readany() == FIRST
            process.send_signal(signal.SIGTERM)
            await eventually(lambda: _refuses_connections(port))
            finish.set()
            assert await response.read() == b""
        assert await asyncio.wait_for(process.wait(), 5) == 0
    [line] = [line for line in log.read_bytes().splitlines() if b"last-one" in line]
    entry = msgspec.json.decode(line)
    assert (entry["event"], entry["outcome"], entry["engine"]) == ("request", "answered", "fast")
    assert b"Say something" not in log.read_bytes()


async def test_a_stream_that_outlasts_the_drain_is_ended_with_an_error(
    redis_process: Server, two_engines: Engines, tmp_path: Path
) -> None:
    fast, _ = two_engines
    fast.behaviour = stream(FIRST, then=hang)
    port = free_port()
    environment = {"PRISM_PORT": str(port), "REDIS_URL": redis_process.url, "PRISM_DRAIN_S": "1"}
    async with _process(tmp_path / "prism.log", **environment) as process, aiohttp.ClientSession() as session:
        prism = Prism(port, session)
        await eventually(lambda: _is_live(prism))
        async with prism.complete(stream=True) as response:
            assert await response.content.readany() == FIRST
            process.send_signal(signal.SIGTERM)
            assert b"the router is shutting down" in await response.read()
        assert await asyncio.wait_for(process.wait(), 5) == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PRISM_PORT", "http"),
        ("PRISM_SLO_CLASSES", '{"fast": {"ttft": 1}}'),
        ("PRISM_MAX_BODY_BYTES", "-1"),
        ("PRISM_HOST", "0.0.0.0"),
    ],
)
async def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, key: str, value: str) -> None:
    log = tmp_path / "prism.log"
    async with _process(log, **{key: value}) as process:
        assert await asyncio.wait_for(process.wait(), 10) == 1
    assert log.read_text().startswith(f"{key}: ")


async def test_a_keys_file_that_cannot_be_used_is_named_and_nothing_is_served(tmp_path: Path) -> None:
    log = tmp_path / "prism.log"
    async with _process(log, PRISM_KEYS_FILE=str(tmp_path), PRISM_PORT=str(free_port())) as process:
        assert await asyncio.wait_for(process.wait(), 10) == 1
    last = log.read_text().splitlines()[-1]
    assert last.startswith("PRISM_KEYS_FILE: ")
    assert "Traceback" not in log.read_text()


async def _refuses_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False
