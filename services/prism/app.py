"""Prism's HTTP surface: the OpenAI endpoints, the fleet as the router sees it, health and metrics."""

import math
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import msgspec
import structlog
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.prism.account import ANSWERED
from services.prism.advice import Advice, decode_either
from services.prism.breaker import BreakerState
from services.prism.decisions import ReadsFleet
from services.prism.dispatches import Dispatches
from services.prism.door import Door, Guard, grant_of
from services.prism.endpoint import Endpoint
from services.prism.fleet import EngineView, Fleet
from services.prism.grants import Grant
from services.prism.hindsight import Hindsight
from services.prism.intake import CHAT_PATH, COMPLETIONS_PATH
from services.prism.metrics import Metrics
from services.prism.openapi import description
from services.prism.router import Router
from shared.api import ModelCard, ModelList, decode_chat, decode_completion
from shared.asgi import JSON, request_id_of
from shared.errors import ApiError, BadRequest, NotFound
from shared.headers import REQUEST_ID
from shared.lifecycle import Readiness
from shared.slo import Slo

log = structlog.get_logger()

ROUTE_PATH = "/v1/route"
QUOTE_PATH = "/v1/slo/quote"

NEEDED_TO_SERVE = {"engines", "router"}
"""Parts without which prism is not ready; with Redis away it serves by what it last read, and says so."""

TELLS_OF_TEXT = "prefix_changes"
"""Who knew a text could tell by it that somebody has asked with it."""


class Shortcut:
    """ASGI, before the framework's routing, which takes about 0.1 ms of processor time a request.

    Args:
        endpoints: that are asked by POST, by path; everything else goes on.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_asked = scope["type"] == "http" and scope["method"] == "POST"
        endpoint = self._endpoints.get(scope["path"]) if is_asked else None
        await (endpoint or self._app)(scope, receive, send)


def create_app(  # noqa: PLR0913 - its parts, and what bounds them
    router: Router,
    fleet: ReadsFleet,
    dispatches: Dispatches,
    metrics: Metrics,
    readiness: Readiness,
    hindsight: Hindsight,
    *,
    slo_classes: Mapping[str, Slo],
    most_body_bytes: int,
    guard: Guard | None = None,
) -> FastAPI:
    """The application, to be served by any ASGI server.

    Args:
        guard: who asks clients for their keys; None where anyone may come.
    """
    app = FastAPI(title="prism", docs_url=None, redoc_url=None, openapi_url=None)
    advice = Advice(router)
    endpoints: dict[str, ASGIApp] = {}
    for path, decode, answer, answered in (
        (CHAT_PATH, decode_chat, router.answer, ANSWERED),
        (COMPLETIONS_PATH, decode_completion, router.answer, ANSWERED),
        (ROUTE_PATH, decode_either, advice.route, "routed"),
        (QUOTE_PATH, decode_either, advice.quote, "quoted"),
    ):
        endpoints[path] = endpoint = Endpoint(
            answer,
            decode,
            metrics,
            hindsight,
            slo_classes=slo_classes,
            most_body_bytes=most_body_bytes,
            answered=answered,
        )
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))  # of it, who asks otherwise is told
    app.add_middleware(Shortcut, endpoints=endpoints)
    if guard is not None:
        app.add_middleware(Door, guard=guard, metrics=metrics)  # the last that is added comes first

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        return _told(request, _models(await fleet.read(), grant_of(request.scope)))

    described = msgspec.json.encode(description(slo_classes=slo_classes, keys=guard is not None))

    @app.get("/openapi.json")
    async def openapi() -> Response:
        return Response(described, headers={"content-type": JSON})

    @app.get("/v1/engines")
    async def engines(request: Request) -> Response:
        now_s = time.monotonic()
        known = await fleet.read()
        return _told(
            request,
            {
                "fleet_age_s": _finite(known.age_s),
                "stale": known.stale,
                "engines": [
                    _shown(
                        engine,
                        known.now_s,
                        dispatches.load(engine.state, now_s).outstanding_requests,
                        dispatches.breaker_state(engine.state.engine, now_s),
                    )
                    for engine in _permitted(known, grant_of(request.scope))
                ],
            },
        )

    @app.get("/health/live")
    async def live() -> Response:
        return _json({"status": "live"})

    @app.get("/health/ready")
    async def ready() -> Response:
        return _readiness(await fleet.read(), readiness)

    @app.get("/metrics")
    async def exposition() -> Response:
        text = metrics.exposition(await fleet.read(), dispatches, time.monotonic())
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    return app


def _models(fleet: Fleet, grant: Grant | None) -> ModelList:
    context_tokens: dict[str, int] = {}
    for engine in _permitted(fleet, grant):
        context_tokens[engine.state.model] = max(engine.context_tokens, context_tokens.get(engine.state.model, 0))
    return ModelList(data=tuple(ModelCard(id=model, max_model_len=most) for model, most in context_tokens.items()))


def _permitted(fleet: Fleet, grant: Grant | None) -> Sequence[EngineView]:
    """The engines that a key may know of: those whose models it may use."""
    return [engine for engine in fleet.engines if grant is None or grant.permits(engine.state.model)]


def _shown(engine: EngineView, now_s: float, outstanding_requests: int, breaker: BreakerState) -> dict[str, object]:
    return {
        **{name: value for name, value in msgspec.structs.asdict(engine.state).items() if name != TELLS_OF_TEXT},
        "state_age_s": engine.state_age_s(now_s),
        "outstanding_requests": outstanding_requests,
        "breaker": breaker,
        "forecast": {
            "health": engine.health,
            "mape": engine.mape,
            "steps_learned": engine.steps_learned,
            "age_s": _finite(engine.forecast_age_s(now_s)),
        },
    }


def _readiness(fleet: Fleet, readiness: Readiness) -> Response:
    if any(engine.accepts for engine in fleet.engines):
        readiness.has("engines")
    else:
        readiness.lacks("engines", "no engine takes requests")
    problems = readiness.problems
    serving = not problems.keys() & NEEDED_TO_SERVE
    return _json(
        {"status": "ready" if serving else "not ready", "problems": problems},
        HTTPStatus.OK if serving else HTTPStatus.SERVICE_UNAVAILABLE,
    )


async def _http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    refusal: ApiError = NotFound(f"there is no {what} here", code="not_found")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        refusal = BadRequest(f"{what} is not allowed", code="method_not_allowed")
    return _error(request, error.status_code, refusal, error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    request_id = request_id_of(request.headers)
    log.error("internal error", request_id=request_id, path=request.url.path, exc_info=error)
    return _error(request, HTTPStatus.INTERNAL_SERVER_ERROR, ApiError("internal error", code="internal_error"))


def _error(request: Request, status: int, error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    headers = {**(headers or {}), "content-type": JSON, REQUEST_ID: request_id_of(request.headers)}
    return Response(error.body(), status, headers)


def _told(request: Request, value: object) -> Response:
    """What a client of the API asked for, by the name that it gave its request."""
    response = _json(value)
    response.headers[REQUEST_ID] = request_id_of(request.headers)
    return response


def _json(value: object, status: int = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(value), status, {"content-type": JSON})


def _finite(age_s: float) -> float | None:
    return age_s if age_s < math.inf else None
