"""The way back to the client, as bare ASGI: each chunk of an answer is passed on as it comes and nothing is kept."""

import asyncio
from collections.abc import Mapping

from services.prism.upstream import Answer
from shared.asgi import Send, end, end_with_error, more, respond, start
from shared.errors import EngineFailed

EVENT_END = b"\n\n"
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


async def relay(answer: Answer, headers: Mapping[str, str], send: Send) -> None:
    """Pass an answer on to the client; `headers` go before the engine's own.

    Raises:
        EngineFailed: the engine broke off, and the client has seen nothing yet.
        StreamBroken: the engine broke off a stream; the client has been told in it.
    """
    headers = {**answer.headers, **headers}
    if answer.is_stream:
        await _relay_stream(answer, headers, send)
    else:
        body = b"".join([answer.first, *[chunk async for chunk in answer.rest()]])
        await respond(send, answer.status, body, headers)


class StreamBroken(EngineFailed):
    """The engine failed in the middle of a stream; an event has said so to the client."""


async def _relay_stream(answer: Answer, headers: Mapping[str, str], send: Send) -> None:
    events = WholeEvents()
    await start(send, answer.status, headers)
    try:
        if whole := events.take(answer.first):
            await more(send, whole)
        async for chunk in answer.rest():
            if whole := events.take(chunk):
                await more(send, whole)
    except EngineFailed as error:
        await end_with_error(send, error)
        raise StreamBroken(error.message) from error
    except asyncio.CancelledError:
        # The router is leaving; a client that has left itself takes no harm from it.
        await end_with_error(send, EngineFailed("the router is shutting down"))
        raise
    await end(send, events.held)
