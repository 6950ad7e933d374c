"""Uvicorn's protocol with bounds: to what it takes as a request's head, since nobody has been asked for a key before that is here;
and to how long a client may take nothing of its answer, since an engine is held for it so long.

And with a short way for the pieces of a stream, which need not wait for a task: ASGI's `send` has to be awaited.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import NamedTuple, Self

from starlette.types import Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from shared.asgi import JSON
from shared.errors import BadRequest

MOST_HEAD_BYTES = 64 * 1024
"""Request line and headers together; likewise what is no body between two pieces of one, and behind the last. Where other things
end in the same piece of so many bytes the rest of that is not counted: there it may be twice as much."""
LINGER_S = 1.0
"""For which a refused client may go on sending into nothing: were the connection closed with bytes on their way, the kernel would break
it, and the client lose the answer that it has not read yet."""

_SHORT_WAY = "synergy.short-way"
"""Among the extensions of a scope."""


class Client(NamedTuple):
    """Whom an answer is for."""

    send: Send
    """ASGI's."""
    write: Callable[[bytes], bool]
    """Writes a piece of a body that has begun and goes on, at once; false where only `send` can, as it waits for the client."""

    @classmethod
    def of(cls, scope: Scope, send: Send) -> Self:
        """Of a request; any server will do, if need be without the short way."""
        short_way = scope.get("extensions", {}).get(_SHORT_WAY, {})
        return cls(send, short_way.get("write", lambda _piece: False))


class ClientProtocol(HttpToolsProtocol):
    """Answers 431 to a head that is longer, 408 to one that is late, and closes the connection; breaks one whose client takes nothing."""

    head_s = 20.0
    """The longest that a head may take from the connection's beginning; after an answer, from when an idle one would be closed."""
    patience_s = 60.0
    """The longest that a client may take nothing, where so much waits for it that nothing more is written."""

    _head_bytes = 0
    """That have come since the last end of a head, piece of a body or end of a request."""
    _watch: asyncio.TimerHandle | None = None
    """There while writing is paused: nothing is set for a chunk."""
    _head_watch: asyncio.TimerHandle | None = None
    """There while a head is waited for, and no answer is under way."""
    _closing: asyncio.TimerHandle | None = None
    """There once a client is refused: nothing that it says is heard any more."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has come."""
        super().connection_made(transport)
        self._await_head(self.head_s)

    def pause_writing(self) -> None:
        """Much waits for the client."""
        super().pause_writing()
        self._watch_out(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        super().resume_writing()
        self._rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed."""
        self._rest()
        self._await_no_head()
        if self._closing is not None:
            self._closing.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, taken up to the bound at a time."""
        while data and self._closing is None and not self.transport.is_closing():
            room = MOST_HEAD_BYTES - self._head_bytes
            piece, data = data[:room], data[room:]
            self._head_bytes += len(piece)
            super().data_received(piece)
            if self._head_bytes >= MOST_HEAD_BYTES:  # and it has not ended
                self._refuse(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    BadRequest(f"the headers have over {MOST_HEAD_BYTES} bytes", code="headers_too_large"),
                )

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._await_no_head()
        self._head_bytes = 0
        super().on_headers_complete()
        self.scope["extensions"] = {_SHORT_WAY: {"write": partial(_written, self.cycle)}}

    def on_body(self, body: bytes) -> None:
        """A piece of the body, which is bounded where it is read."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is here."""
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer has ended; uvicorn closes the connection soon, but lets it be once any byte comes."""
        super().on_response_complete()
        self._await_head(self.timeout_keep_alive + self.head_s)

    def _await_head(self, within_s: float) -> None:
        self._await_no_head()
        self._head_watch = self.loop.call_later(within_s, self._miss_head)

    def _await_no_head(self) -> None:
        if self._head_watch is not None:
            self._head_watch.cancel()
            self._head_watch = None

    def _miss_head(self) -> None:
        """No head has ended in time; one of those that came together with the last may be answered all the same."""
        self._head_watch = None
        if self._is_answering:
            return
        if self._head_bytes:
            late = BadRequest(f"the headers did not end within {self.head_s:g} s", code="headers_too_late")
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, late)
        else:
            self.transport.close()

    def _watch_out(self, left_bytes: int) -> None:
        self._rest()
        self._watch = self.loop.call_later(self.patience_s, self._look, left_bytes)

    def _rest(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _look(self, left_bytes: int) -> None:
        """Whether the client has taken anything since so much was left."""
        now_left_bytes = self.transport.get_write_buffer_size()
        if now_left_bytes < left_bytes:
            self._watch_out(now_left_bytes)
        else:
            self.transport.abort()  # the application learns of it as of any client that leaves

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: HTTPStatus, error: BadRequest) -> None:
        if self.transport.is_closing() or self._closing is not None:
            return
        # Where a request is being answered there is no place for another answer.
        if not self._is_answering:
            body = error.body()
            lines = (
                f"HTTP/1.1 {status.value} {status.phrase}",
                f"content-type: {JSON}",
                f"content-length: {len(body)}",
                "connection: close",
                "",
                "",
            )
            self.transport.write("\r\n".join(lines).encode("ascii") + body)
            self.transport.write_eof()
            self._await_no_head()
            self._closing = self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()


def _written(cycle: RequestResponseCycle, piece: bytes) -> bool:
    """What the cycle's own `send` does with a piece in the middle of a body, where it would not wait."""
    transport = cycle.transport
    if cycle.flow.write_paused or transport.is_closing() or cycle.response_complete or not cycle.chunked_encoding:
        return False
    transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    return True
