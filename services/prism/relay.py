"""The way back to the client, as bare ASGI: each chunk of an answer is passed on as it comes and nothing is kept."""

import asyncio
from collections.abc import Callable, Mapping

from services.prism.stream_end import EVENT_END, STREAM_END, Ending, StreamEnd, ending_of
from services.prism.upstream import Answer
from shared.asgi import Send, end, end_with_error, more, respond, start
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


async def relay(answer: Answer, headers: Mapping[str, str], send: Send, note_end: NoteEnd) -> None:
    """Pass an answer on to the client; `headers` go before the engine's own.

    Raises:
        EngineFailed: the engine broke off, and the client has seen nothing yet.
        StreamBroken: the engine broke off a stream; the client has been told in it.
    """
    headers = {**answer.headers, **headers}
    if answer.is_stream:
        await _relay_stream(answer, headers, send, note_end)
    else:
        body = b"".join([answer.first, *[chunk async for chunk in answer.rest()]])
        note_end(ending_of(body))
        await respond(send, answer.status, body, headers)


class StreamBroken(EngineFailed):
    """The engine failed in the middle of a stream; an event has said so to the client."""


async def _relay_stream(answer: Answer, headers: Mapping[str, str], send: Send, note_end: NoteEnd) -> None:
    events, stream_end = WholeEvents(), StreamEnd()

    def passed_on(whole: bytes) -> bytes:
        """The events, before the end mark with what there is to say of them."""
        if not stream_end.take(whole):
            return whole
        return b"".join((whole.removesuffix(STREAM_END), note_end(stream_end.ending), STREAM_END))

    await start(send, answer.status, headers)
    try:
        if whole := events.take(answer.first):
            await more(send, passed_on(whole))
        async for chunk in answer.rest():
            if whole := events.take(chunk):
                await more(send, passed_on(whole))
    except EngineFailed as error:
        await end_with_error(send, error)
        raise StreamBroken(error.message) from error
    except asyncio.CancelledError:
        # The router is leaving; a client that has left itself takes no harm from it.
        await end_with_error(send, EngineFailed("the router is shutting down"))
        raise
    if not stream_end.is_here:
        note_end(stream_end.ending)  # without an end mark there is no place that is surely between events
    await end(send, events.held)
