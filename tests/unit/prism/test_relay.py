"""A stream is cut only where an event ends, and reaches its client whole whichever way its pieces go."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.prism.client_protocol import Client
from services.prism.connection import Connection
from services.prism.relay import MOST_HELD_BYTES, WholeEvents, relay
from services.prism.stream_end import STREAM_END, Ending
from services.prism.upstream import Answer


@pytest.mark.parametrize(
    ("chunks", "passed", "held"),
    [
        ([b"data: 1\n\n"], [b"data: 1\n\n"], b""),
        ([b"data: 1\n\ndata: 2\n\n"], [b"data: 1\n\ndata: 2\n\n"], b""),
        ([b"data: 1\n\nda", b"ta: 2\n\n"], [b"data: 1\n\n", b"data: 2\n\n"], b""),
        ([b"data: 1\n", b"\n"], [b"", b"data: 1\n\n"], b""),
        ([b"data: torn"], [b""], b"data: torn"),
        ([b""], [b""], b""),
    ],
)
def test_what_is_not_a_whole_event_is_held_back(chunks: list[bytes], passed: list[bytes], held: bytes) -> None:
    events = WholeEvents()
    assert [events.take(chunk) for chunk in chunks] == passed
    assert events.held == held


def test_an_event_without_end_is_passed_on_before_it_fills_the_memory() -> None:
    events = WholeEvents()
    endless = b"x" * (MOST_HELD_BYTES + 1)
    assert events.take(endless) == endless
    assert events.held == b""


class NoTransport(asyncio.Transport):
    """Takes what is written, and never has too much."""

    def __init__(self) -> None:
        super().__init__(extra={})

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def abort(self) -> None:
        pass


EVENTS = [b'data: {"text": " %d"}\n\n' % number for number in range(40)]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n"
COMMENT = b": what came of it\n\n"


def by_turns(taken: int) -> bool:
    return taken % 2 == 0


@pytest.mark.parametrize("takes", [lambda _: True, lambda _: False, by_turns])
@pytest.mark.parametrize("piece_bytes", [1, 7, len(EVENTS[0]), 100, 10_000])
async def test_a_stream_reaches_its_client_whole_whether_or_not_pieces_are_written_at_once(
    piece_bytes: int, takes: Callable[[int], bool]
) -> None:
    stream = b"".join(EVENTS) + STREAM_END
    connection, got, endings, offered = Connection(), [], [], 0

    async def send(message: Any) -> None:
        got.append(message.get("body", b""))

    def write(piece: bytes) -> bool:
        nonlocal offered
        offered += 1
        if not takes(offered):
            return False
        got.append(piece)
        return True

    def note_end(ending: Ending) -> bytes:
        endings.append(ending)
        return COMMENT

    connection.connection_made(NoTransport())
    connection.send(b"a request", patience_s=5.0)
    connection.data_received(HEAD % len(stream) + stream[:piece_bytes])
    answer = Answer(connection, await connection.body())
    relaying = asyncio.create_task(relay(answer, {}, Client(send, write), note_end))
    for begin in range(piece_bytes, len(stream), piece_bytes):
        await asyncio.sleep(0)
        connection.data_received(stream[begin : begin + piece_bytes])
    await asyncio.wait_for(relaying, 5)
    assert b"".join(got) == b"".join(EVENTS) + COMMENT + STREAM_END
    assert endings == [Ending(len(EVENTS))]
    connection.abort()
