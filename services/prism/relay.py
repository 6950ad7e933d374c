"""The way back to the client, as bare ASGI: each chunk of an answer is passed on as it comes and nothing is kept."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from starlette.types import Receive, Send

from services.prism.upstream import Answer
from shared.errors import ApiError, EngineFailed
from shared.headers import REQUEST_ID

EVENT_END = b"\n\n"
MOST_HELD_BYTES = 64 * 1024


class ClientGone(Exception):
    """The client has closed its connection."""


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
    await send({"type": "http.response.start", "status": answer.status, "headers": _encoded(headers)})
    try:
        if whole := events.take(answer.first):
            await send({"type": "http.response.body", "body": whole, "more_body": True})
        async for chunk in answer.rest():
            if whole := events.take(chunk):
                await send({"type": "http.response.body", "body": whole, "more_body": True})
    except EngineFailed as error:
        await _end_with_error(error, send)
        raise StreamBroken(error.message) from error
    except asyncio.CancelledError:
        # The router is leaving; a client that has left itself takes no harm from it.
        await _end_with_error(EngineFailed("the router is shutting down"), send)
        raise
    await send({"type": "http.response.body", "body": events.held})


async def _end_with_error(error: ApiError, send: Send) -> None:
    await send({"type": "http.response.body", "body": b"data: " + error.body() + EVENT_END})


async def respond(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """A response in one piece."""
    headers = {"content-type": "application/json", **headers, "content-length": str(len(body))}
    await send({"type": "http.response.start", "status": status, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, error: ApiError, request_id: str) -> None:
    """The response that says this error."""
    await respond(send, error.status, error.body(), {**error.headers, REQUEST_ID: request_id})


async def unless_client_leaves(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Await the work, or cancel it at once when the client closes its connection; its request body must have been read.

    Raises:
        ClientGone: the client left first.
    """
    working = asyncio.ensure_future(work)
    tasks = (working, asyncio.ensure_future(_disconnected(receive)))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        working.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
