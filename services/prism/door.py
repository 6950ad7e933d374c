"""Who may come in: every request under `/v1/` shows an API key and keeps to its rate, before anything else is done for it.

It stands before the application, so that no endpoint can forget to ask.
"""

import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.prism.grants import Grant, digest_of
from services.prism.metrics import Metrics
from services.prism.rate_limits import Allowance, RateLimits
from shared.asgi import refuse, request_id_of
from shared.errors import ApiError, RateLimited, Unauthorized
from shared.headers import RATE_LIMIT, RATE_REMAINING, RATE_RESET

log = structlog.get_logger()

GUARDED = "/v1/"
_GRANT = "synergy.grant"


class FindsKeys(Protocol):
    """Where keys are known."""

    async def find(self, digest: str) -> Grant | None:
        """What the key of this digest grants; None where there is none."""
        ...


class KeyRing:
    """Keys from several places; the first that knows one says what it grants."""

    def __init__(self, *places: FindsKeys) -> None:
        self._places = places

    async def find(self, digest: str) -> Grant | None:
        """What the key of this digest grants; None where no place has it."""
        for place in self._places:
            if (grant := await place.find(digest)) is not None:
                return grant
        return None


class Guard:
    """Asks for a key and counts what it asks. A key's rate bounds what is asked (POST), not what is looked at."""

    def __init__(self, keys: FindsKeys, limits: RateLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._limits = limits
        self._clock = clock

    async def admit(self, method: str, headers: Mapping[str, str]) -> tuple[Grant, Mapping[str, str]]:
        """What the request's key grants, and the headers that say what is left of its rate.

        Raises:
            Unauthorized: there is no key, or none that is known.
            RateLimited: it has made its requests.
            Unavailable: keys cannot be checked now.
        """
        digest = digest_of(_bearer(headers))
        grant = await self._keys.find(digest)
        if grant is None:
            raise Unauthorized("the API key is not known here")
        return grant, self._counted(digest, grant) if method == "POST" else {}

    def _counted(self, digest: str, grant: Grant) -> Mapping[str, str]:
        if grant.rate_limit is None:
            return {}
        allowance = self._limits.take(digest, grant.rate_limit, self._clock())
        headers = _rate_headers(allowance)
        if not allowance.allowed:
            message = f"this API key may make {grant.requests_per_s:g} requests a second, {allowance.limit} at once"
            raise RateLimited(message, headers=headers, retry_after_s=allowance.retry_after_s)
        return headers


class Door:
    """ASGI, around the application."""

    def __init__(self, app: ASGIApp, guard: Guard, metrics: Metrics) -> None:
        self._app = app
        self._guard = guard
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            grant, rate_headers = await self._guard.admit(scope["method"], headers)
        except ApiError as error:
            request_id = request_id_of(headers)
            self._metrics.requests.labels(error.status, "refused").inc()
            log.info("refused at the door", request_id=request_id, status=error.status, code=error.code)
            await refuse(send, error, request_id)
            return
        scope[_GRANT] = grant
        await self._app(scope, receive, _with(rate_headers, send) if rate_headers else send)


def grant_of(scope: Scope) -> Grant | None:
    """What the request's key grants; None where no keys are asked for."""
    grant: Grant | None = scope.get(_GRANT)
    return grant


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Unauthorized("an API key is needed, as the header `authorization: Bearer KEY`")
    return key.strip()


def _rate_headers(allowance: Allowance) -> dict[str, str]:
    return {
        RATE_LIMIT: str(allowance.limit),
        RATE_REMAINING: str(allowance.remaining),
        RATE_RESET: duration_text(allowance.reset_s),
    }


def duration_text(duration_s: float) -> str:
    """A duration as OpenAI's headers have it: `0s`, `20ms`, `1.5s`, `6m0s`."""
    duration_ms = round(duration_s * 1e3)
    if 0 < duration_ms < 1000:
        return f"{duration_ms}ms"
    minutes, rest_ms = divmod(duration_ms, 60_000)
    seconds = f"{rest_ms / 1e3:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{minutes}m{seconds}" if minutes else seconds


def _with(headers: Mapping[str, str], send: Send) -> Send:
    """Sends a response with these headers too."""
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]

    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *encoded]}
        await send(message)

    return send_with_headers
