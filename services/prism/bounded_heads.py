"""Uvicorn's protocol with an end to what it takes as a request's head: nobody has been asked for a key before that is here."""

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from shared.asgi import JSON
from shared.errors import BadRequest

MOST_HEAD_BYTES = 64 * 1024
"""Request line and headers together; likewise what is no body between two pieces of one, and behind the last. Where other things
end in the same piece of so many bytes the rest of that is not counted: there it may be twice as much."""


class BoundedHeads(HttpToolsProtocol):
    """Answers 431 to a head that is longer, and closes the connection."""

    _head_bytes = 0
    """That have come since the last end of a head, piece of a body or end of a request."""

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, taken up to the bound at a time."""
        while data and not self.transport.is_closing():
            room = MOST_HEAD_BYTES - self._head_bytes
            piece, data = data[:room], data[room:]
            self._head_bytes += len(piece)
            super().data_received(piece)
            if self._head_bytes >= MOST_HEAD_BYTES:  # and it has not ended
                self._refuse()

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._head_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body, which is bounded where it is read."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is here."""
        self._head_bytes = 0
        super().on_message_complete()

    def _refuse(self) -> None:
        if self.transport.is_closing():
            return
        # Where a request is being answered there is no place for another answer.
        if self.cycle is None or self.cycle.response_complete:
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            body = BadRequest(f"the headers have over {MOST_HEAD_BYTES} bytes", code="headers_too_large").body()
            lines = (
                f"HTTP/1.1 {status.value} {status.phrase}",
                f"content-type: {JSON}",
                f"content-length: {len(body)}",
                "connection: close",
                "",
                "",
            )
            self.transport.write("\r\n".join(lines).encode("ascii") + body)
        self.transport.close()
