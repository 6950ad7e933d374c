"""The first thing that happens to a request: its body is read within bounds, decoded and sized, its targets resolved.

Where clients have API keys, a key's grant says whose the request is and bounds what it may ask for.
"""

from collections.abc import Callable, Mapping

import msgspec

from services.prism.grants import Grant
from services.prism.output_lengths import OutputLengths
from services.prism.prompt_size import Ask, ask_of
from shared.api import AnyRequest, ChatRequest
from shared.asgi import Receive, read_body
from shared.errors import NotFound
from shared.headers import REQUEST_ID
from shared.slo import DEFAULT_CLASS, Slo, slo_from_headers
from shared.standing import Standing, headers_from_standing, standing_from_headers

CHAT_PATH = "/v1/chat/completions"
COMPLETIONS_PATH = "/v1/completions"

_FORWARDED = ("content-type", "accept")


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has been taken in."""

    path: str
    """Where lens answers it."""
    body: bytes
    """As the client sent it."""
    headers: Mapping[str, str]
    """Those of the client's that lens is to see; its credentials are not among them."""
    model: str
    stream: bool
    ignore_eos: bool = False
    ask: Ask
    slo: Slo
    """As it is promised."""
    standing: Standing
    arrived_at_s: float


async def take_in(  # noqa: PLR0913 - what is read, how, and within which bounds
    headers: Mapping[str, str],
    receive: Receive,
    decode: Callable[[bytes], AnyRequest],
    *,
    request_id: str,
    slo_classes: Mapping[str, Slo],
    most_bytes: int,
    arrived_at_s: float,
    lengths: OutputLengths,
    bytes_per_token: Callable[[str], float],
    grant: Grant | None = None,
) -> Intake:
    """Read a request.

    Args:
        bytes_per_token: by model.
        grant: of its API key; None where there are no keys, and all is taken on trust.

    Raises:
        ApiError: it cannot be run as it stands, or is too large.
        ClientGone: the client left before its request was complete.
    """
    body = await read_body(headers, receive, most_bytes)
    wanted = slo_from_headers(headers, slo_classes, unnamed=(grant and grant.slo_class) or DEFAULT_CLASS)
    standing = standing_from_headers(headers)  # what lens would refuse need not travel there
    request = decode(body)
    if grant is not None:
        _check_permitted(grant, request.model)
        standing = grant.bounded(standing)
    ask = ask_of(
        request,
        lengths.of(request.model, standing.tenant),
        tenant=standing.tenant,
        bytes_per_token=bytes_per_token(request.model),
    )
    forwarded = {name: headers[name] for name in _FORWARDED if name in headers}
    return Intake(
        path=CHAT_PATH if isinstance(request, ChatRequest) else COMPLETIONS_PATH,
        body=body,
        headers={**forwarded, **headers_from_standing(standing), REQUEST_ID: request_id},
        model=request.model,
        stream=request.stream,
        ignore_eos=request.ignore_eos,
        ask=ask,
        slo=wanted if grant is None else grant.loosened(wanted, ask.output_tokens),
        standing=standing,
        arrived_at_s=arrived_at_s,
    )


def _check_permitted(grant: Grant, model: str) -> None:
    """A model that a key may not use is to it as one that is not there."""
    if not grant.permits(model):
        message = f"the model {model!r} does not exist here, or this API key may not use it"
        raise NotFound(message, param="model", code="model_not_found")
