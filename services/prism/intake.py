"""The first thing that happens to a request: its body is read within bounds, decoded and sized, its targets resolved."""

import re
import secrets
from collections.abc import Callable, Mapping

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive

from services.prism.prompt_size import Ask, ask_of
from services.prism.relay import ClientGone
from shared.api import AnyRequest
from shared.errors import TooLarge
from shared.headers import REQUEST_ID
from shared.slo import Slo, slo_from_headers

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_FORWARDED = ("content-type", "accept")


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has been taken in."""

    path: str
    body: bytes
    """As the client sent it."""
    headers: Mapping[str, str]
    """Those of the client's that lens is to see; its credentials are not among them."""
    model: str
    stream: bool
    ask: Ask
    slo: Slo
    arrived_at_s: float


def request_id_of(headers: Headers) -> str:
    """The client's name for its request, or a new one where it gave none that can be echoed."""
    given = headers.get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


async def take_in(
    path: str,
    headers: Headers,
    receive: Receive,
    decode: Callable[[bytes], AnyRequest],
    *,
    request_id: str,
    slo_classes: Mapping[str, Slo],
    most_bytes: int,
    arrived_at_s: float,
) -> Intake:
    """Read a request.

    Raises:
        ApiError: it cannot be run as it stands, or is too large.
        ClientGone: the client left before its request was complete.
    """
    body = await _read(headers, receive, most_bytes)
    slo = slo_from_headers(headers, slo_classes)
    request = decode(body)
    forwarded = {name: headers[name] for name in _FORWARDED if name in headers}
    return Intake(
        path=path,
        body=body,
        headers={**forwarded, REQUEST_ID: request_id},
        model=request.model,
        stream=request.stream,
        ask=ask_of(request),
        slo=slo,
        arrived_at_s=arrived_at_s,
    )


async def _read(headers: Headers, receive: Receive, most_bytes: int) -> bytes:
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise TooLarge(f"the body has {declared} bytes; at most {most_bytes} are taken")
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
