"""The first thing that happens to a request: its body is read within bounds, decoded and sized, its targets resolved."""

from collections.abc import Callable, Mapping

import msgspec

from services.prism.prompt_size import Ask, ask_of
from shared.api import AnyRequest
from shared.asgi import Receive, read_body
from shared.headers import PRIORITY, REQUEST_ID, TENANT
from shared.slo import Slo, slo_from_headers
from shared.standing import standing_from_headers

_FORWARDED = ("content-type", "accept", PRIORITY, TENANT)
"""Priority and tenant are taken on trust: once clients have keys, a key will bound the one and say the other."""


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


async def take_in(  # noqa: PLR0913 - what it reads, and what that is read by
    path: str,
    headers: Mapping[str, str],
    receive: Receive,
    decode: Callable[[bytes], AnyRequest],
    *,
    request_id: str,
    slo_classes: Mapping[str, Slo],
    most_bytes: int,
    arrived_at_s: float,
    bytes_per_token: Callable[[str], float],
) -> Intake:
    """Read a request.

    Args:
        bytes_per_token: by model.

    Raises:
        ApiError: it cannot be run as it stands, or is too large.
        ClientGone: the client left before its request was complete.
    """
    body = await read_body(headers, receive, most_bytes)
    slo = slo_from_headers(headers, slo_classes)
    standing = standing_from_headers(headers)  # what lens would refuse need not travel there
    request = decode(body)
    forwarded = {name: headers[name] for name in _FORWARDED if name in headers}
    return Intake(
        path=path,
        body=body,
        headers={**forwarded, REQUEST_ID: request_id},
        model=request.model,
        stream=request.stream,
        ask=ask_of(request, tenant=standing.tenant, bytes_per_token=bytes_per_token(request.model)),
        slo=slo,
        arrived_at_s=arrived_at_s,
    )
