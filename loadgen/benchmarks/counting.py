"""A client that counts the events of a stream and reads nothing of them, so that it takes little beside what it measures."""

import asyncio
import json
import time
from typing import NamedTuple
from urllib.parse import urlsplit

from services.prism.account import COMMENT

_OK = b"HTTP/1.1 200"
_BEGINNING = b"data: "
_DONE = b"data: [DONE]\n\n"
_END = b"\r\n0\r\n\r\n"


class Answered(NamedTuple):
    """What became of a request."""

    ttft_s: float | None
    """From when it was due to the first event; None where none came."""
    events: int
    whole: bool
    """Whether it ended as a stream does."""


class CountingClient:
    """Asks one server; connections are used again.

    Args:
        url: `http://host:port`.
    """

    def __init__(self, url: str, model: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._host, self._port, self._model = parts.hostname, parts.port, model
        self._free: list[_Connection] = []

    async def ask(self, chunks: int, due_at_s: float) -> Answered:
        """Ask for so many chunks, and read them to the end."""
        body = json.dumps(
            {"model": self._model, "prompt": "Count.", "max_tokens": chunks, "stream": True, "ignore_eos": True}
        ).encode()
        connection = await self._connected()
        request = b"POST /v1/completions HTTP/1.1\r\nhost: benchmark\r\ncontent-type: application/json\r\n"
        answered = await connection.exchange(request + b"content-length: %d\r\n\r\n%s" % (len(body), body), due_at_s)
        if connection.is_free:
            self._free.append(connection)
        return answered

    def close(self) -> None:
        """Close what is kept."""
        for connection in self._free:
            connection.close()

    async def _connected(self) -> "_Connection":
        while self._free:
            if (connection := self._free.pop()).is_free:
                return connection
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
        return connection


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] | None = None
        self._received = bytearray()
        self._first_at_s: float | None = None

    @property
    def is_free(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes, due_at_s: float) -> Answered:
        assert self._transport is not None
        self._received, self._first_at_s = bytearray(), None
        self._ended = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._ended
        ttft_s = None if self._first_at_s is None else self._first_at_s - due_at_s
        events = self._received.count(b"}\n\n") - self._received.count(COMMENT)
        return Answered(ttft_s, events, whole=_DONE in self._received)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._first_at_s is None:
            if _BEGINNING in self._received:
                self._first_at_s = time.monotonic()
            elif not self._received.startswith(_OK):
                self.close()  # another status: an error
        if self._received.endswith(_END) and self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
