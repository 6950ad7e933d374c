"""Decisions without a proxied answer: which engine a caller's own proxy should ask, and what a request would be promised."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from services.prism.account import Account
from services.prism.client_protocol import Client
from services.prism.intake import Intake
from services.prism.route import Route
from services.prism.router import Router
from shared.api import AnyRequest, decode_chat, decode_completion
from shared.asgi import respond
from shared.errors import ApiError, BadRequest
from shared.headers import REQUEST_ID, RETRY_AFTER_MS

_OF_A_HOP = ("content-type", "accept")
"""Headers that say how the question was asked; the caller's proxy has its own."""


class _Kind(msgspec.Struct):
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    prompt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def decode_either(body: bytes) -> AnyRequest:
    """A request of the chat endpoint where it has `messages`, else one of the completions endpoint.

    Raises:
        BadRequest: as `decode_chat` and `decode_completion`, or it has neither `messages` nor `prompt`.
    """
    try:
        kind = msgspec.json.decode(body, type=_Kind)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    if kind.messages is not msgspec.UNSET:
        return decode_chat(body)
    if kind.prompt is not msgspec.UNSET:
        return decode_completion(body)
    raise BadRequest("the body must have messages, for a chat, or a prompt", param="messages")


class Advice:
    """Answers of the router for those who send their requests themselves."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def route(self, intake: Intake, account: Account, client: Client) -> None:
        """`POST /v1/route`: the engine to ask, and the headers that the request must go there with.

        Raises:
            NotFound, Overloaded, Unavailable: as where the router asks itself.
        """
        route, headers = await self._router.hand_out(intake, account)
        sent_on = {name: value for name, value in headers.items() if name not in _OF_A_HOP}
        await _say(client, account, {**shown(route), "path": intake.path, "headers": sent_on})

    async def quote(self, intake: Intake, account: Account, client: Client) -> None:
        """`POST /v1/slo/quote`: what the request would be promised now, and of each engine what is foreseen there.

        Raises:
            NotFound: no engine has the model.
        """
        foretold = await self._router.foretell(intake, account)
        promised = {"ttft_ms": intake.slo.ttft_s, "tpot_ms": intake.slo.tpot_s, "e2e_ms": intake.slo.e2e_s}
        answer = {
            "model": intake.model,
            "promised": {"class": intake.slo.name, **{name: _ms(target_s) for name, target_s in promised.items()}},
            **_outlook(foretold.choice),
            "engines": [{"engine": engine, **_outlook(outlook)} for engine, outlook in foretold.engines.items()],
        }
        await _say(client, account, answer)


def _outlook(outlook: Route | ApiError) -> dict[str, Any]:
    if isinstance(outlook, Route):
        return {"route": shown(outlook), "refusal": None}
    retry_after_ms = outlook.headers.get(RETRY_AFTER_MS)
    refusal = {
        "status": outlook.status,
        "code": outlook.code,
        "message": outlook.message,
        "retry_after_ms": None if retry_after_ms is None else int(retry_after_ms),
    }
    return {"route": None, "refusal": refusal}


def shown(route: Route) -> dict[str, Any]:
    """All that a decision says, as `openapi_bodies.RouteShown` describes it; in milliseconds where the decision says seconds."""
    told = {**msgspec.structs.asdict(route), "correction": route.correction._asdict()}
    return {
        f"{name[:-2]}_ms" if name.endswith("_s") else name: _ms(value) if name.endswith("_s") else value
        for name, value in told.items()
    }


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s * 1e3, 3)


async def _say(client: Client, account: Account, answer: Mapping[str, Any]) -> None:
    account.status = HTTPStatus.OK
    body = msgspec.json.encode({**answer, "route_ms": _ms(account.route_s)})
    await respond(client.send, account.status, body, {REQUEST_ID: account.request_id})
