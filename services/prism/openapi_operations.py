"""An operation of prism's API as OpenAPI says it: what it takes, and all that it may answer."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from services.prism.openapi_bodies import ErrorBody, as_json
from services.prism.openapi_headers import OF_A_RETRY, response_headers

Json = dict[str, Any]

_REFUSALS = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
_FAILURES = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
_SAY_WHEN_TO_RETRY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def post(summary: str, parameters: list[Json], body: Json, answer: Json, *, keys: bool) -> Json:
    """An operation on a request for tokens.

    Args:
        parameters: its headers.
        body: its schema.
        answer: the response that is a success.
        keys: whether clients must show one.
    """
    return {
        "summary": summary,
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": answer, **_errors((*_REFUSALS, *_FAILURES)), **_guarded(keys)},
        **_secured(keys),
    }


def get(summary: str, answer: Json, *, keys: bool = False, unready: Json | None = None) -> Json:
    """An operation that only looks.

    Args:
        answer: the response that is a success.
        keys: whether clients must show one.
        unready: the content of a 503, where there is one that is no error.
    """
    not_now: Json = {} if unready is None else {"503": {"description": "Not now", "content": unready}}
    return {"summary": summary, "responses": {"200": answer, **not_now, **_guarded(keys)}, **_secured(keys)}


def _guarded(keys: bool) -> Json:
    """A key that cannot be checked gets a 503; a `post` says that of itself already."""
    return _errors((HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE)) if keys else {}


def _secured(keys: bool) -> Json:
    return {"security": [{"key": []}]} if keys else {}


def _errors(statuses: Iterable[HTTPStatus]) -> Json:
    return {str(int(status)): _error(status) for status in statuses}


def _error(status: HTTPStatus) -> Json:
    headers = OF_A_RETRY if status in _SAY_WHEN_TO_RETRY else ()
    return {"description": status.phrase, "headers": response_headers(*headers), "content": as_json(ErrorBody)}
