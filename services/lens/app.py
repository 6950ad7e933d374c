"""The HTTP face of lens: routes, bodies within bounds, errors in OpenAI's form."""

from http import HTTPStatus

import msgspec
import prometheus_client
import structlog
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from services.lens.frontend import Frontend
from services.lens.live import JSON
from services.lens.loop import StepLoop
from services.lens.metrics import LensMetrics
from services.lens.publisher import Publisher
from shared.api import ModelCard, ModelList
from shared.errors import ApiError, TooLarge
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
    app.add_exception_handler(ApiError, _say_api_error)
    app.add_exception_handler(HTTPException, _say_http_error)
    app.add_exception_handler(Exception, _say_internal_error)

    @app.post("/v1/completions")
    async def complete(request: Request) -> Response:
        return await frontend.complete(await _read_body(request, max_body_bytes), request.headers)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await frontend.chat(await _read_body(request, max_body_bytes), request.headers)

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
        metrics.telemetry_dropped.set(publisher.reports_dropped)
        if loop.scheduler is not None:
            metrics.show(loop.scheduler.load)
        return Response(
            prometheus_client.generate_latest(metrics.registry), media_type=prometheus_client.CONTENT_TYPE_LATEST
        )

    return app


async def _read_body(request: Request, max_body_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_body_bytes:
        raise TooLarge(f"the body is {declared} bytes; the limit is {max_body_bytes}")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_body_bytes:
            raise TooLarge(f"the body is over the limit of {max_body_bytes} bytes")
    return bytes(body)


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(value), status, media_type=JSON)


async def _say_api_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return Response(error.body(), error.status, error.headers, JSON)


async def _say_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = ApiError(f"{request.method} {request.url.path}: {error.detail}")
    said.type = "invalid_request_error"
    return Response(said.body(), error.status_code, error.headers, JSON)


async def _say_internal_error(request: Request, error: Exception) -> Response:
    log.error("request failed", path=request.url.path, exc_info=error)
    return Response(ApiError("internal error").body(), HTTPStatus.INTERNAL_SERVER_ERROR, media_type=JSON)
