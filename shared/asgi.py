"""The HTTP edge that prism and lens share, in terms of the ASGI protocol alone: bodies within bounds, answers, clients that leave."""

import asyncio
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
from typing import Any

from shared.errors import ApiError, TooLarge
from shared.headers import REQUEST_ID

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class ClientGone(Exception):
    """The client has closed its connection."""


def request_id_of(headers: Mapping[str, str]) -> str:
    """The client's name for its request, or a new one where it gave none that can be echoed."""
    given = headers.get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


async def read_body(headers: Mapping[str, str], receive: Receive, most_bytes: int) -> bytes:
    """The whole body of a request.

    Raises:
        TooLarge: it is, or says that it is, larger.
        ClientGone: the client left before it was complete.
    """
    declared = headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > most_bytes):
        raise TooLarge(f"the body has {declared[:18]} bytes or more; at most {most_bytes} are taken")
    chunks: list[bytes] = []
    num_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunks.append(message.get("body", b""))
        num_bytes += len(chunks[-1])
        if num_bytes > most_bytes:
            raise TooLarge(f"the body has over {most_bytes} bytes")
        if not message.get("more_body", False):
            return b"".join(chunks)


async def unless_client_leaves(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Await the work, or cancel it at once when the client closes its connection; its request body must have been read.

    Raises:
        ClientGone: the client left first.
    """
    stays = asyncio.timeout(None)

    async def watch() -> None:
        await _disconnected(receive)
        stays.reschedule(asyncio.get_running_loop().time())  # its time is over

    try:
        async with stays:
            watching = asyncio.ensure_future(watch())
            try:
                await work
            finally:
                watching.cancel()
    except TimeoutError:
        if stays.expired():
            raise ClientGone from None
        raise


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    """The beginning of a response; `more` and `end` follow."""
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def more(send: Send, body: bytes) -> None:
    """A part of the body."""
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def end(send: Send, body: bytes = b"") -> None:
    """The last part of the body."""
    await send({"type": "http.response.body", "body": body})


async def end_with_error(send: Send, error: ApiError) -> None:
    """End a stream of events with one that says the error."""
    await end(send, b"data: " + error.body() + b"\n\n")


async def respond(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """A response in one piece."""
    await start(send, status, {"content-type": JSON, **headers, "content-length": str(len(body))})
    await end(send, body)


async def refuse(send: Send, error: ApiError, request_id: str) -> None:
    """The response that says this error."""
    await respond(send, error.status, error.body(), {**error.headers, REQUEST_ID: request_id})
