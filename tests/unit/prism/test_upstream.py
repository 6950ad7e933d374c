"""What a refusal of an engine costs: no connection where its body is short and there, and no time where it is not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from services.prism.upstream import MOST_REFUSAL_BYTES, EngineAway, EngineFull, Upstream

FULL = b"HTTP/1.1 429 Too Many Requests\r\n"
AWAY = b"HTTP/1.1 503 Service Unavailable\r\n"


class Engine:
    """Says the same to each request, in pieces, and counts its connections."""

    def __init__(self, *pieces: bytes) -> None:
        self.url = ""
        self.connections = 0
        self._pieces = pieces

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Engine"]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield self
        server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError):
            while await reader.read(1024):
                for piece in self._pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()


async def refused(engine: Engine, times: int) -> list[type[Exception]]:
    """How it refuses, one request after the other."""
    problems: list[type[Exception]] = []
    async with engine.running(), Upstream() as upstream:
        for _ in range(times):
            try:
                async with upstream.ask(engine.url, b"{}", {}, first_byte_s=30.0, idle_s=30.0):
                    pytest.fail("it did not refuse")
            except (EngineAway, EngineFull) as problem:
                problems.append(type(problem))
    return problems


@pytest.mark.parametrize(
    "pieces",
    [
        (FULL + b"content-length: 2\r\n\r\nno",),
        (FULL + b"content-length: 2\r\n\r\n", b"n", b"o"),
        (FULL + b"content-length: 0\r\n\r\n",),
    ],
)
async def test_a_refusal_leaves_its_connection_to_the_next(pieces: tuple[bytes, ...]) -> None:
    engine = Engine(*pieces)
    assert await refused(engine, 3) == [EngineFull] * 3
    assert engine.connections == 1


async def test_one_that_says_it_is_away_does_too() -> None:
    engine = Engine(AWAY + b"content-length: 2\r\n\r\nno")
    assert await refused(engine, 3) == [EngineAway] * 3
    assert engine.connections == 1


@pytest.mark.parametrize(
    "piece",
    [
        FULL + b"content-length: 2\r\n\r\nn",
        FULL + b"content-length: %d\r\n\r\n" % (MOST_REFUSAL_BYTES + 1),
        FULL + b"transfer-encoding: chunked\r\n\r\n2\r\nno\r\n",
        FULL + b"\r\n",
    ],
)
async def test_a_body_that_is_not_all_there_soon_is_not_waited_for(piece: bytes) -> None:
    engine = Engine(piece)
    async with asyncio.timeout(10):
        assert await refused(engine, 2) == [EngineFull] * 2
    assert engine.connections == 2
