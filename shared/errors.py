"""Errors that a client sees, in OpenAI's form; raised anywhere, turned into a response once at the edge.

ApiError
 ├─ BadRequest         400  the request cannot be run as it stands; names the field
 ├─ Unauthorized       401  no API key, or none that is known
 ├─ NotFound           404  no such path; no such model, or none that the API key may use
 ├─ TooLarge           413  the body is over the limit
 ├─ Overloaded         429  no room now; try again later
 ├─ RateLimited        429  the API key has made its requests; try again later
 ├─ EngineFailed       502  the engine failed while answering
 └─ Unavailable        503  nothing can answer now
"""

import math
from collections.abc import Mapping

import msgspec

from shared.headers import RETRY_AFTER_MS


class ApiError(Exception):
    """Attributes as in OpenAI's error body; `headers` go with the response.

    Args:
        retry_after_s: when to try again, where that may help; goes into the headers.
    """

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code
        self.headers = {**_retry_headers(retry_after_s), **(headers or {})}

    def body(self) -> bytes:
        """The JSON body `{"error": {"message", "type", "param", "code"}}`."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


def _retry_headers(retry_after_s: float | None) -> dict[str, str]:
    """The standard header in whole seconds, and the one that OpenAI's clients prefer."""
    if retry_after_s is None:
        return {}
    return {"retry-after": str(math.ceil(retry_after_s)), RETRY_AFTER_MS: str(math.ceil(retry_after_s * 1e3))}


class BadRequest(ApiError):
    """The request cannot be run as it stands; `param` names the field."""

    status = 400
    type = "invalid_request_error"


class Unauthorized(ApiError):
    """No API key, or none that is known."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"www-authenticate": "Bearer"})


class NotFound(ApiError):
    """What the request names is not here."""

    status = 404
    type = "invalid_request_error"


class TooLarge(ApiError):
    """The body is over the limit."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class Overloaded(ApiError):
    """No room now."""

    status = 429
    type = "rate_limit_error"
    code = "overloaded"


class RateLimited(ApiError):
    """The API key has made as many requests as it may."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class EngineFailed(ApiError):
    """The engine failed while answering."""

    status = 502
    code = "engine_failed"


class Unavailable(ApiError):
    """Nothing can answer now."""

    status = 503
    code = "unavailable"
