"""Real processes are killed and frozen under a steady stream of requests: each ends once, with an answer or a proper error."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import msgspec
import pytest

from tests.integration.prism.conftest import Announcer, Prism
from tests.integration.prism.fake_engine import FakeEngine
from tests.servers import Server, eventually, free_port
from tests.unit.prism.builders import MODEL

REQUESTS_PER_S = 20
ENDS_WITHIN_S = 20.0
DONE = b"data: [DONE]\n\n"
ROUTER_GONE = "router gone"


class Process(NamedTuple):
    """One that can be killed and frozen."""

    port: int
    process: asyncio.subprocess.Process

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@contextlib.asynccontextmanager
async def _running(*command: str, port: int, log: Path, **environment: str) -> AsyncIterator[Process]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *command, env={**os.environ, **environment}, stdout=output, stderr=output
        )
    try:
        await eventually(lambda: _accepts(port))
        yield Process(port, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


class Fleet(NamedTuple):
    """Two engines, each a process, and who announces those that live."""

    engines: dict[str, Process]
    announced: list[FakeEngine]
    """Those that have a lens: taking one from the list is what its death does."""


@pytest.fixture
async def fleet(announcer: Announcer, tmp_path: Path) -> AsyncIterator[Fleet]:
    async with contextlib.AsyncExitStack() as stack:
        engines, announced = {}, []
        for name in ("a", "b"):
            engine = FakeEngine(name)  # for its state; it runs elsewhere
            engines[name] = await stack.enter_async_context(
                _running(
                    "tests.integration.prism.fake_engine",
                    str(engine.port),
                    port=engine.port,
                    log=tmp_path / f"{name}.log",
                )
            )
            announced.append(engine)
            await announcer.forecast(engine.forecast(base_ms=10.0))
        announcing = asyncio.create_task(announcer.keep_announcing(announced))
        yield Fleet(engines, announced)
        while not announcing.done():  # a cancellation that meets a time-out of the Redis client is lost
            announcing.cancel()
            await asyncio.wait((announcing,), timeout=0.5)


@pytest.fixture
async def routers(redis_process: Server, fleet: Fleet, tmp_path: Path) -> AsyncIterator[Sequence[Process]]:
    async with contextlib.AsyncExitStack() as stack, aiohttp.ClientSession() as session:
        processes = []
        for number in range(2):
            port = free_port()
            processes.append(
                await stack.enter_async_context(
                    _running(
                        "services.prism",
                        port=port,
                        log=tmp_path / f"prism-{number}.log",
                        PRISM_PORT=str(port),
                        REDIS_URL=redis_process.url,
                        PRISM_IDLE_S="2",
                        PRISM_ANSWER_S="10",
                    )
                )
            )
            prism = Prism(port, session)

            async def sees_both(prism: Prism = prism) -> bool:
                return len(await prism.engines_in_pool()) == 2

            await eventually(sees_both)
        yield processes


class Stream:
    """Requests at an even rate, every second one streamed, to the routers in turn; a client tries another router once."""

    def __init__(self, routers: Sequence[Process]) -> None:
        self.ended: Counter[str] = Counter()
        self._urls = [f"http://127.0.0.1:{router.port}" for router in routers]
        self._stop = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Leaving the context waits until every request has ended."""
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
            asyncio.TaskGroup() as group,
        ):
            sending = group.create_task(self._send(session, group))
            yield
            self._stop.set()
            await sending

    async def answers(self, more: int = 10) -> None:
        """Wait until so many more requests have been answered."""
        wanted = self.ended["answered"] + more
        await eventually(lambda: self.ended["answered"] >= wanted, 20.0)

    async def _send(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            group.create_task(self._ask(session, number))
            await asyncio.sleep(1 / REQUESTS_PER_S)

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> None:
        began_s = time.monotonic()
        outcome = await self._asked(session, self._urls[number % 2], streams=bool(number // 2 % 2))
        if outcome == ROUTER_GONE:
            outcome = await self._asked(session, self._urls[(number + 1) % 2], streams=bool(number // 2 % 2))
        assert time.monotonic() - began_s < ENDS_WITHIN_S
        self.ended[outcome] += 1

    async def _asked(self, session: aiohttp.ClientSession, url: str, *, streams: bool) -> str:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "stream": streams}
        try:
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                answer = await response.read()
        except aiohttp.ClientError:
            return ROUTER_GONE
        if response.status != 200:
            return f"{response.status} {_error_code(answer)}"
        if answer.endswith(DONE) or not streams:
            return "answered" if streams or "choices" in msgspec.json.decode(answer) else "torn"
        *events, last, nothing = answer.split(b"\n\n")
        assert (nothing, all(event.startswith(b"data: {") for event in events)) == (b"", True)
        return f"broken off: {_error_code(last.removeprefix(b'data: '))}"


def _error_code(body: bytes) -> str:
    error = msgspec.json.decode(body)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return str(error["code"])


async def test_an_engine_that_is_killed_costs_at_most_the_streams_that_it_had_begun(
    routers: Sequence[Process], fleet: Fleet
) -> None:
    stream = Stream(routers)
    async with stream.running():
        await stream.answers()
        fleet.engines["a"].send(signal.SIGKILL)
        await stream.answers()
        fleet.announced.pop(0)
        await stream.answers(30)
    assert stream.ended.keys() <= {"answered", "broken off: engine_failed", "502 engine_failed"}


async def test_an_engine_that_freezes_is_left_and_taken_again(routers: Sequence[Process], fleet: Fleet) -> None:
    stream = Stream(routers)
    async with stream.running():
        await stream.answers()
        fleet.engines["a"].send(signal.SIGSTOP)
        frozen = fleet.announced.pop(0)  # its lens is frozen with it
        await stream.answers(60)
        fleet.engines["a"].send(signal.SIGCONT)
        fleet.announced.append(frozen)
        await stream.answers(30)
    assert stream.ended.keys() <= {"answered", "broken off: engine_failed", "502 engine_failed"}


async def test_a_router_that_is_killed_leaves_its_clients_to_the_other(
    routers: Sequence[Process], fleet: Fleet
) -> None:
    stream = Stream(routers)
    async with stream.running():
        await stream.answers()
        routers[0].send(signal.SIGKILL)
        await stream.answers(40)
    assert stream.ended.keys() == {"answered"}


async def test_redis_that_is_killed_and_comes_back_empty_is_not_noticed(
    routers: Sequence[Process], fleet: Fleet, redis_process: Server
) -> None:
    stream = Stream(routers)
    async with stream.running():
        await stream.answers()
        redis_process.kill()
        await stream.answers(80)
        redis_process.start()
        await stream.answers(40)
    assert stream.ended.keys() == {"answered"}
