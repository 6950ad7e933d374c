"""One HTTP/1.1 connection to an engine: a request at a time, its answer's body taken as it comes.

What every chunk of every stream passes through: no timer is set for a chunk, no task is woken where it can be passed on at once,
and nothing is copied that came in one piece.
"""

import asyncio
import time
from collections.abc import Callable
from typing import cast

import httptools

from shared.errors import EngineFailed

MOST_UNREAD_BYTES = 64 * 1024
"""More than that is left in the socket until the client has taken what is here."""


Takes = Callable[[bytes], bool]
"""Offered a piece of a body as it comes; whether it took it. Must not wait."""


class ConnectionBroken(Exception):
    """The engine closed the connection, or sent what is not HTTP; says which."""


class Connection(asyncio.Protocol):
    """Sends a request, then reads its answer.

    Attributes:
        status: of the answer; 0 until its head is here.
        headers: of the answer, by lower-case name.
        touched: whether any byte of the answer has come.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.touched = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._unread: list[bytes] = []
        self.on_body = self._unread.append
        """What the parser calls with each piece of the body."""
        self._paused = False
        self._has_head = self._complete = False
        self._keeps_alive = False
        self._problem: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._takes: Takes | None = None
        """There while somebody waits who has one."""
        self._waits_since_s = 0.0
        self._patience_s = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def send(self, request: bytes, patience_s: float) -> None:
        """Send a request, head and body; the answer to the one before has been read to its end.

        Args:
            patience_s: the longest wait for the next bytes of the answer.

        Raises:
            ConnectionBroken: it was closed before anything could be sent, as by a proxy that finds no engine behind itself.
        """
        if self._transport is None:
            raise self._problem or ConnectionBroken("the connection was closed")
        self.status, self.headers, self.touched = 0, {}, False
        self._has_head = self._complete = self._keeps_alive = False
        self._parser = httptools.HttpResponseParser(self)
        self.be_patient(patience_s)
        self._transport.write(request)

    def be_patient(self, patience_s: float) -> None:
        """Wait for the next bytes so long, from now on."""
        self._patience_s = patience_s
        self._waits_since_s = time.monotonic()
        self._watch_out(patience_s)

    async def head(self) -> None:
        """Wait until status and headers are here.

        Raises:
            ConnectionBroken: they will not come.
            EngineFailed: the engine was silent for too long.
        """
        while not self._has_head:
            await self._news()

    async def body(self, takes: Takes | None = None) -> bytes:
        """What has come of the body; empty at its end.

        Args:
            takes: is offered what comes while this waits; only what it does not take is given here.

        Raises:
            As `head`.
        """
        while not self._unread:
            if self._complete:
                return b""
            self._takes = takes
            try:
                await self._news()
            finally:
                self._takes = None
        body = self._all_unread()
        self._unread.clear()
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return body

    @property
    def reusable(self) -> bool:
        """Whether it can take another request."""
        return self._complete and self._keeps_alive and not self._unread and not self.closed

    @property
    def closed(self) -> bool:
        """Whether either side has closed it."""
        return self._transport is None or self._transport.is_closing()

    def rest(self) -> None:
        """Stop watching: nothing is expected."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def abort(self) -> None:
        """Close it at once; the engine learns that nobody waits any more."""
        self.rest()
        if self._transport is not None:
            self._transport.abort()

    def _all_unread(self) -> bytes:
        return self._unread[0] if len(self._unread) == 1 else b"".join(self._unread)

    async def _news(self) -> None:
        if self._problem is not None:
            raise self._problem
        self._waiter = self._loop.create_future()
        self._waits_since_s = time.monotonic()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, problem: Exception) -> None:
        if self._problem is None:
            self._problem = problem
        self._wake()

    def _watch_out(self, in_s: float) -> None:
        at_s = self._loop.time() + in_s
        if self._watch is not None:
            if self._watch.when() <= at_s:
                return  # it comes before that, and looks on
            self._watch.cancel()
        self._watch = self._loop.call_at(at_s, self._look)

    def _look(self) -> None:
        """One timer an answer, which finds out when it is due whether the wait is as old as itself."""
        self._watch = None
        waited_s = time.monotonic() - self._waits_since_s if self._waiter is not None else 0.0
        if waited_s < self._patience_s:
            self._watch_out(self._patience_s - waited_s)
        else:
            self._fail(EngineFailed("the engine was silent for too long"))

    # The transport calls these.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast("asyncio.Transport", transport)  # those of uvloop are of no class of asyncio's

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer; where no answer is due the connection is of no use."""
        self.touched = True
        if self._parser is None or self._complete:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionBroken(f"not HTTP: {error}"))
            self.abort()
            return
        if self._takes is not None and self._unread and self._takes(self._all_unread()):
            self._unread.clear()
            self._waits_since_s = time.monotonic()
            if not self._complete:
                return
        if not self._paused and self._transport is not None and sum(map(len, self._unread)) > MOST_UNREAD_BYTES:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        if exc is None and self._has_head and not {"content-length", "transfer-encoding"} & self.headers.keys():
            self._complete = True  # the end of the connection is that of the body
        if not self._complete:
            self._fail(ConnectionBroken(str(exc or "the connection was closed")))
        self.rest()
        self._transport = self._parser = None  # the parser knows this connection: a circle
        self._wake()

    # The parser calls these.

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is here."""
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        self._has_head = self.status >= 200

    def on_message_complete(self) -> None:
        """The whole answer is here; one below 200 only says that another follows."""
        assert self._parser is not None
        if not self._has_head:
            self.headers = {}
            return
        self._complete = True
        self._keeps_alive = self._parser.should_keep_alive()
