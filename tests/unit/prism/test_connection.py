"""One connection to an engine, whatever the engine makes of HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from services.prism.connection import MOST_UNREAD_BYTES, Connection, ConnectionBroken
from shared.errors import EngineFailed
from tests.servers import eventually

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE_S = 5.0
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine"


def says(*pieces: bytes, closes: bool = False) -> Behaviour:
    """To each request these pieces."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if closes:
                break
        writer.close()

    return behave


@contextlib.asynccontextmanager
async def connected(behaviour: Behaviour) -> AsyncIterator[Connection]:
    server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
    _, connection = await asyncio.get_running_loop().create_connection(Connection, *server.sockets[0].getsockname())
    yield connection
    connection.abort()
    server.close()


async def read(connection: Connection, patience_s: float = PATIENCE_S) -> bytes:
    connection.send(b"a request", patience_s)
    await connection.head()
    body = b""
    while piece := await connection.body():
        body += piece
    return body


@pytest.mark.parametrize(
    ("pieces", "closes", "body", "reusable"),
    [
        ([WHOLE], False, b"fine", True),
        ([bytes([byte]) for byte in WHOLE], False, b"fine", True),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE], False, b"fine", True),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE], False, b"fine", True),
        (
            [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n"],
            False,
            b"fine",
            True,
        ),
        ([b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nfine"], True, b"fine", False),
        ([b"HTTP/1.1 200 OK\r\n\r\nfi", b"ne"], True, b"fine", False),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], False, b"", True),
        ([WHOLE + b"and more"], False, b"fine", False),
    ],
)
async def test_an_answer_is_read_to_its_end(pieces: list[bytes], closes: bool, body: bytes, reusable: bool) -> None:
    async with connected(says(*pieces, closes=closes)) as connection:
        assert await read(connection) == body
        assert connection.reusable == reusable


async def test_a_connection_takes_one_request_after_the_other() -> None:
    async with connected(says(WHOLE)) as connection:
        assert [await read(connection) for _ in range(3)] == [b"fine"] * 3


@pytest.mark.parametrize(
    ("said", "touched"),
    [(b"", False), (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfine", True), (b"hello\r\n", True)],
)
async def test_an_answer_that_breaks_off_says_so(said: bytes, touched: bool) -> None:
    async with connected(says(said, closes=True)) as connection:
        with pytest.raises(ConnectionBroken):
            await read(connection)
        assert (connection.touched, connection.reusable) == (touched, False)


async def test_a_connection_that_was_closed_before_it_was_used_says_so() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with connected(hang_up) as connection:
        await eventually(lambda: connection.closed)
        with pytest.raises(ConnectionBroken):
            await read(connection)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfine"])
async def test_silence_is_waited_for_as_long_as_was_said(said: bytes) -> None:
    async with connected(says(said)) as connection:
        with pytest.raises(EngineFailed, match="silent for too long"):
            await asyncio.wait_for(read(connection, patience_s=0.1), 5)


async def test_an_engine_whose_client_takes_nothing_is_not_called_silent_and_not_read_on() -> None:
    written = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while True:
                writer.write(b"x" * 16_384)
                await writer.drain()
                written += 16_384

    async with connected(flood) as connection:
        connection.send(b"a request", patience_s=0.05)
        await connection.head()
        await eventually(lambda: written > MOST_UNREAD_BYTES)
        await asyncio.sleep(0.2)  # several times its patience
        before = written
        assert len(await connection.body()) < 8 * MOST_UNREAD_BYTES

        async def is_read_on() -> bool:
            assert await connection.body()
            return written > before

        await eventually(is_read_on)


async def test_what_is_taken_as_it_comes_is_not_given_and_nothing_is_lost() -> None:
    pieces = [b"%d " % number for number in range(100)]
    came: list[bytes] = []

    def takes(piece: bytes) -> bool:
        """Of three, two."""
        if len(came) % 3 == 2:
            return False
        came.append(piece)
        return True

    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % sum(map(len, pieces))
    async with connected(says(head, *pieces)) as connection:
        connection.send(b"a request", PATIENCE_S)
        await connection.head()
        while given := await connection.body(takes):
            came.append(given)
        assert connection.reusable
    assert b"".join(came) == b"".join(pieces)


async def test_an_engine_whose_pieces_are_all_taken_as_they_come_is_heard_until_it_is_silent() -> None:
    taken: list[bytes] = []

    def takes(piece: bytes) -> bool:
        taken.append(piece)
        return True

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10):
            writer.write(b"x")
            await asyncio.sleep(0.05)
        await reader.read()
        writer.close()

    async def read_on(connection: Connection) -> None:
        while given := await connection.body(takes):
            taken.append(given)

    async with connected(drip) as connection:
        connection.send(b"a request", patience_s=0.2)
        await connection.head()
        with pytest.raises(EngineFailed, match="silent for too long"):
            await asyncio.wait_for(read_on(connection), 5)
    assert b"".join(taken) == b"x" * 10
