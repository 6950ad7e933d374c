"""What is taken as a request's head has an end, and comes in time, however it comes; nor is a client waited for that takes nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from services.prism.client_protocol import MOST_HEAD_BYTES, Client, ClientProtocol
from shared.asgi import end, more, read_body, respond, start

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
MOST_BODY_BYTES = 2**21
KEEP_ALIVE_S = 1
BEGINNING, END = b"POST / HTTP/1.1\r\nhost: h\r\n", b"\r\n\r\n"


async def count(_scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers with how long the body was."""
    body = await read_body({}, receive, MOST_BODY_BYTES)
    await respond(send, 200, str(len(body)).encode(), {})


@pytest.fixture
def protocol() -> type[ClientProtocol]:
    return ClientProtocol


@contextlib.asynccontextmanager
async def connected(application: ASGIApp, protocol: type[ClientProtocol] = ClientProtocol) -> AsyncIterator[Connection]:
    config = uvicorn.Config(application, lifespan="off", log_config=None, timeout_keep_alive=KEEP_ALIVE_S)
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    yield reader, writer
    writer.close()
    server.close()


@pytest.fixture
async def connection(protocol: type[ClientProtocol]) -> AsyncIterator[Connection]:
    async with connected(count, protocol) as connection:
        yield connection


def head(num_bytes: int, *headers: bytes) -> bytes:
    """The head of a request that has so many bytes in all."""
    begun = b"".join((BEGINNING, *(header + b"\r\n" for header in headers), b"x: "))
    return begun + b"x" * (num_bytes - len(begun) - len(END)) + END


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one."""
    said = await asyncio.wait_for(reader.readuntil(END), 5)
    fields = dict(line.split(": ", 1) for line in said.decode().lower().split("\r\n")[1:-2])
    return int(said.split()[1]), await reader.readexactly(int(fields["content-length"]))


async def test_a_head_within_the_bound_is_taken_again_and_again(connection: Connection) -> None:
    reader, writer = connection
    for _ in range(3):
        writer.write(head(MOST_HEAD_BYTES, b"content-length: 4") + b"body")
        assert await answer(reader) == (200, b"4")


@pytest.mark.parametrize("sent", [head(MOST_HEAD_BYTES + 1), BEGINNING + b"x: " + b"x" * 2**20, b"\r\n" * 2**16])
async def test_a_longer_one_is_refused_before_its_end_is_here(connection: Connection, sent: bytes) -> None:
    reader, writer = connection
    writer.write(sent[: MOST_HEAD_BYTES + 1])
    status, body = await answer(reader)
    assert (status, b"headers_too_large" in body) == (431, True)
    assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_body_may_be_longer_in_one_piece_and_in_chunks(connection: Connection) -> None:
    reader, writer = connection
    writer.write(head(100, b"content-length: 1000000") + b"x" * 1_000_000)
    assert await answer(reader) == (200, b"1000000")
    writer.write(head(100, b"transfer-encoding: chunked") + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
    assert await answer(reader) == (200, b"50000")


async def test_what_follows_a_body_without_end_closes_the_connection(connection: Connection) -> None:
    reader, writer = connection
    writer.write(head(100, b"transfer-encoding: chunked") + b"1\r\nx\r\n0\r\nx: ")
    with contextlib.suppress(ConnectionError):
        writer.write(b"x" * (2 * MOST_HEAD_BYTES))
        assert await asyncio.wait_for(reader.read(), 5) == b""


class HurriedProtocol(ClientProtocol):
    """Its heads are late soon."""

    head_s = 0.2


in_a_hurry = pytest.mark.parametrize("protocol", [HurriedProtocol])


async def drip(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Send it again and again until the connection is closed."""
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)


@in_a_hurry
@pytest.mark.parametrize("answered_before", [0, 2])
async def test_a_head_that_comes_bit_by_bit_is_late_all_the_same(connection: Connection, answered_before: int) -> None:
    reader, writer = connection
    for _ in range(answered_before):
        writer.write(head(100, b"content-length: 4") + b"body")
        assert await answer(reader) == (200, b"4")
    writer.write(BEGINNING)
    dripping = asyncio.create_task(drip(writer, b"x: y\r\n"))
    status, body = await answer(reader)
    assert (status, b"headers_too_late" in body) == (408, True)
    assert (
        await asyncio.wait_for(reader.read(), 5) == b""
    )  # it is told that nothing comes any more, and may go on for a while
    await asyncio.wait_for(dripping, 5)


@in_a_hurry
async def test_a_connection_that_says_nothing_is_closed_without_a_word(connection: Connection) -> None:
    reader, _ = connection
    assert await asyncio.wait_for(reader.read(), 5) == b""


@in_a_hurry
async def test_line_ends_between_requests_keep_no_connection_open(connection: Connection) -> None:
    reader, writer = connection
    writer.write(head(100, b"content-length: 4") + b"body")
    assert await answer(reader) == (200, b"4")
    dripping = asyncio.create_task(drip(writer, b"\r\n"))
    status, _ = await answer(reader)
    assert status == 408
    await asyncio.wait_for(dripping, 5)


@in_a_hurry
async def test_a_body_may_take_longer_than_a_head(connection: Connection) -> None:
    reader, writer = connection
    writer.write(head(100, b"content-length: 4"))
    for byte in (b"b", b"o", b"d", b"y"):
        await asyncio.sleep(HurriedProtocol.head_s / 2)
        writer.write(byte)
    assert await answer(reader) == (200, b"4")


@in_a_hurry
async def test_a_connection_may_be_idle_between_requests_for_longer_than_a_head_may_take(
    connection: Connection,
) -> None:
    reader, writer = connection
    for _ in range(2):
        writer.write(head(100, b"content-length: 4") + b"body")
        assert await answer(reader) == (200, b"4")
        await asyncio.sleep(2 * HurriedProtocol.head_s)


class FullTransport(asyncio.Transport):
    """One whose client takes what is said, look by look."""

    def __init__(self, *left_bytes: int) -> None:
        super().__init__()
        self.left_bytes = list(left_bytes)
        self.aborted = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        return self.left_bytes.pop(0)

    def abort(self) -> None:
        self.aborted.set()


async def test_a_client_that_takes_something_is_waited_for_and_one_that_takes_nothing_is_not() -> None:
    protocol, transport = (
        ClientProtocol(uvicorn.Config(count, log_config=None), ServerState(), {}),
        FullTransport(9, 6, 1, 1),
    )
    protocol.patience_s = 0.01
    protocol.connection_made(transport)
    protocol.pause_writing()
    await asyncio.wait_for(transport.aborted.wait(), 5)
    assert transport.left_bytes == []


async def test_nobody_looks_once_the_client_has_taken_most_of_it() -> None:
    protocol, transport = ClientProtocol(uvicorn.Config(count, log_config=None), ServerState(), {}), FullTransport(9)
    protocol.patience_s = 0.0
    protocol.connection_made(transport)
    protocol.pause_writing()
    protocol.resume_writing()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not transport.aborted.is_set()


async def test_pieces_are_written_at_once_only_within_a_body() -> None:
    written: list[bool] = []

    async def stream(scope: Scope, _receive: Receive, send: Send) -> None:
        client = Client.of(scope, send)
        written.append(client.write(b"too early"))
        await start(client.send, 200, {})
        await more(client.send, b"one ")
        written.append(client.write(b"two "))
        await more(client.send, b"three ")
        written.append(client.write(b"four "))
        await end(client.send, b"five")
        written.append(client.write(b"too late"))

    async with connected(stream) as (reader, writer):
        writer.write(BEGINNING + END)
        await asyncio.wait_for(reader.readuntil(END), 5)
        body = await asyncio.wait_for(reader.readuntil(b"0" + END), 5)
    assert b"".join(body.split(b"\r\n")[1:-3:2]) == b"one two three four five"
    assert written == [False, True, True, False]


async def test_nothing_is_written_at_once_to_a_client_that_takes_nothing_or_has_left() -> None:
    most_pieces = 10_000
    done: asyncio.Future[tuple[int, bool]] = asyncio.get_running_loop().create_future()

    async def flood(scope: Scope, receive: Receive, send: Send) -> None:
        client = Client.of(scope, send)
        await read_body({}, receive, MOST_BODY_BYTES)
        await start(client.send, 200, {})
        pieces = 0
        while pieces < most_pieces and client.write(b"x" * 65_536):
            pieces += 1
        while (await receive())["type"] != "http.disconnect":
            pass
        done.set_result((pieces, client.write(b"more")))

    async with connected(flood) as (_, writer):
        writer.write(BEGINNING + END)
        await asyncio.sleep(0)
        writer.close()
        pieces, is_written = await asyncio.wait_for(done, 5)
    assert pieces < most_pieces
    assert not is_written


async def test_a_server_without_the_short_way_writes_nothing_at_once() -> None:
    async def send(_message: object) -> None:
        raise AssertionError

    assert not Client.of({"type": "http"}, send).write(b"a piece")
