"""The HTTP face of lens: routes, bodies within bounds, errors in OpenAI's form."""

import time
from collections.abc import Callable, Coroutine, MutableMapping
from http import HTTPStatus
from typing import Any

import msgspec
import prometheus_client
import structlog
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from services.lens.frontend import Call, Frontend
from services.lens.loop import StepLoop
from services.lens.metrics import LensMetrics
from services.lens.publisher import Publisher
from shared.api import ModelCard, ModelList
from shared.asgi import (
    JSON,
    ClientGone,
    Receive,
    Send,
    end_with_error,
    read_body,
    refuse,
    request_id_of,
    unless_client_leaves,
)
from shared.errors import ApiError, BadRequest, NotFound
from shared.headers import REQUEST_ID
from shared.lifecycle import Readiness

log = structlog.get_logger()

NEEDED_TO_SERVE = {"engine", "warm-up"}
"""Parts without which lens is not ready; without the others it serves, and says what it lacks."""


def create_app(
    frontend: Frontend,
    readiness: Readiness,
    metrics: LensMetrics,
    loop: StepLoop,
    publisher: Publisher,
    *,
    max_body_bytes: int,
) -> FastAPI:
    """The application; it owns nothing that it serves."""
    app = FastAPI(title="LENS", docs_url=None, redoc_url=None, openapi_url=None)
    for path, handle in (("/v1/completions", frontend.complete), ("/v1/chat/completions", frontend.chat)):
        endpoint = Endpoint(handle, metrics.count_refusal, max_body_bytes=max_body_bytes)
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
    app.add_exception_handler(ApiError, _say_api_error)
    app.add_exception_handler(HTTPException, _say_http_error)
    app.add_exception_handler(Exception, _say_internal_error)

    @app.get("/v1/models")
    async def models() -> Response:
        card = ModelCard(frontend.info.model, frontend.info.max_context_tokens)
        return _json(ModelList((card,)))

    @app.get("/health/live")
    async def live() -> Response:
        return _json({"status": "live"})

    @app.get("/health/ready")
    async def ready() -> Response:
        problems = readiness.problems
        serving = not problems.keys() & NEEDED_TO_SERVE and not frontend.draining
        return _json(
            {"status": "ready" if serving else "not ready", "draining": frontend.draining, "problems": problems},
            HTTPStatus.OK if serving else HTTPStatus.SERVICE_UNAVAILABLE,
        )

    @app.get("/metrics")
    async def metrics_page() -> Response:
        metrics.show_missing(readiness.problems)
        metrics.telemetry_dropped.set(publisher.reports_dropped)
        if loop.scheduler is not None:
            metrics.show(loop.scheduler)
        return Response(
            prometheus_client.generate_latest(metrics.registry), media_type=prometheus_client.CONTENT_TYPE_LATEST
        )

    return app


class Endpoint:
    """One generation endpoint, bare ASGI: reads the request, answers it, and sees a client that leaves.

    An error ends an answer that has begun, with an event that says it.
    """

    def __init__(
        self,
        handle: Callable[[Call, Send], Coroutine[Any, Any, None]],
        count_refusal: Callable[[ApiError], None],
        *,
        max_body_bytes: int,
    ) -> None:
        self._handle = handle
        self._count_refusal = count_refusal
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrival_s = time.monotonic()
        headers = Headers(scope=scope)
        request_id = request_id_of(headers)
        answer = _Sending(send)
        try:
            body = await read_body(headers, receive, self._max_body_bytes)
            await unless_client_leaves(receive, self._handle(Call(body, headers, request_id, arrival_s), answer))
        except ClientGone:
            pass  # its generation has ended as cancelled, and is reported
        except ApiError as error:
            if answer.begun:
                await end_with_error(send, error)
                return
            self._count_refusal(error)
            await refuse(send, error, request_id)
        except Exception as error:
            if not answer.begun:
                raise
            await end_with_error(send, _internal_error(scope["path"], error))


class _Sending:
    """Sends a response, and knows whether it has begun."""

    def __init__(self, send: Send) -> None:
        self.begun = False
        self._send = send

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self.begun = True
        await self._send(message)


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(value), status, media_type=JSON)


async def _say_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return _error(request, error.status, error)


async def _say_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: an unknown path, a wrong method."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}"
    refusal: ApiError = NotFound(f"there is no {what} here", code="not_found")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        refusal = BadRequest(f"{what} is not allowed", code="method_not_allowed")
    return _error(request, error.status_code, refusal)


async def _say_internal_error(request: Request, error: Exception) -> Response:
    return _error(request, HTTPStatus.INTERNAL_SERVER_ERROR, _internal_error(request.url.path, error))


def _internal_error(path: str, error: Exception) -> ApiError:
    """What is said of a mistake of ours; the log says more."""
    log.error("internal error", path=path, exc_info=error)
    return ApiError("internal error", code="internal_error")


def _error(request: Request, status: int, error: ApiError) -> Response:
    headers = {**error.headers, REQUEST_ID: request_id_of(request.headers)}
    return Response(error.body(), status, headers, JSON)
