"""The way back to the client, as bare ASGI: each chunk of an answer is passed on as it comes and nothing is kept."""

import asyncio
from collections.abc import Callable, Mapping

from services.prism.client_protocol import Client
from services.prism.stream_end import EVENT_END, STREAM_END, Ending, StreamEnd, ending_of
from services.prism.upstream import Answer
from shared.asgi import end, end_with_error, more, respond, start
from shared.errors import EngineFailed

MOST_HELD_BYTES = 64 * 1024


class WholeEvents:
    """Cuts a stream of server-sent events after its last whole one, so that an error can follow as an event of its own."""

    def __init__(self) -> None:
        self.held = b""
        """The beginning of an event."""

    def take(self, chunk: bytes) -> bytes:
        """What may be passed on now."""
        if not self.held and chunk.endswith(EVENT_END):
            return chunk
        data = self.held + chunk
        end = data.rfind(EVENT_END) + len(EVENT_END) if EVENT_END in data else 0
        if len(data) - end > MOST_HELD_BYTES:
            end = len(data)
        self.held = data[end:]
        return data[:end]


NoteEnd = Callable[[Ending], bytes]
"""Told how an answer ended as soon as its end is here; what it gives back goes into a stream before its end mark."""


async def relay(answer: Answer, headers: Mapping[str, str], client: Client, note_end: NoteEnd) -> None:
    """Pass an answer on to the client; `headers` go before the engine's own.

    Raises:
        EngineFailed: the engine broke off, and the client has seen nothing yet.
        StreamBroken: the engine broke off a stream; the client has been told in it.
    """
    headers = {**answer.headers, **headers}
    if answer.is_stream:
        await _relay_stream(answer, headers, client, note_end)
    else:
        body = b"".join([answer.first, *[chunk async for chunk in answer.rest()]])
        note_end(ending_of(body))
        await respond(client.send, answer.status, body, headers)


class StreamBroken(EngineFailed):
    """The engine failed in the middle of a stream; an event has said so to the client."""


class _Stream:
    """One on its way to its client, before whose end mark stands what there is to say of it."""

    __slots__ = ("_end", "_events", "_note_end", "_send", "_write")

    def __init__(self, client: Client, note_end: NoteEnd) -> None:
        self._send, self._write = client
        self._note_end = note_end
        self._events, self._end = WholeEvents(), StreamEnd()

    def write(self, chunk: bytes) -> bool:
        """Pass a chunk on at once, if there is nothing to wait for: most are whole events, and not the last."""
        if self._events.held or not chunk.endswith(EVENT_END) or chunk.endswith(STREAM_END):
            return False
        if not self._write(chunk):
            return False
        self._end.take(chunk)
        return True

    async def send(self, chunk: bytes) -> None:
        """Pass on what of it can be, as soon as the client takes it."""
        whole = self._events.take(chunk)
        if not whole:
            return
        if self._end.take(whole):
            whole = b"".join((whole.removesuffix(STREAM_END), self._note_end(self._end.ending), STREAM_END))
        await more(self._send, whole)

    async def end(self) -> None:
        """All of it is here."""
        if not self._end.is_here:
            self._note_end(self._end.ending)  # without an end mark there is no place that is surely between events
        await end(self._send, self._events.held)


async def _relay_stream(answer: Answer, headers: Mapping[str, str], client: Client, note_end: NoteEnd) -> None:
    stream = _Stream(client, note_end)
    await start(client.send, answer.status, headers)
    try:
        await stream.send(answer.first)
        async for chunk in answer.rest(stream.write):
            await stream.send(chunk)
    except EngineFailed as error:
        await end_with_error(client.send, error)
        raise StreamBroken(error.message) from error
    except asyncio.CancelledError:
        # The router is leaving; a client that has left itself takes no harm from it.
        await end_with_error(client.send, EngineFailed("the router is shutting down"))
        raise
    await stream.end()
