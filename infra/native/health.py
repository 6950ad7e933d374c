"""Asks services how they are, over HTTP."""

import contextlib
import http.client
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

ANSWERS_WITHIN_S = 2.0


class _Health(msgspec.Struct, frozen=True):
    problems: Mapping[str, str] = {}


class _Engine(msgspec.Struct, frozen=True):
    engine: str
    serving: bool
    draining: bool


class _Engines(msgspec.Struct, frozen=True):
    engines: tuple[_Engine, ...]


def problems_of(url: str) -> Mapping[str, str]:
    """What a service lacks, by part; empty when it is ready."""
    try:
        status, body = _get(url, "/health/ready")
    except (OSError, http.client.HTTPException) as error:
        return {"http": f"{url} does not answer: {error or type(error).__name__}"}
    if status == HTTPStatus.OK:
        return {}
    with contextlib.suppress(msgspec.MsgspecError):
        if problems := msgspec.json.decode(body, type=_Health).problems:
            return problems
    return {"http": f"{url}/health/ready says {status}: {body.decode(errors='replace')[:300]}"}


def engines_in_service(prism_url: str) -> frozenset[str]:
    """The names of the engines that prism can route to now; none while it does not answer."""
    with contextlib.suppress(OSError, http.client.HTTPException, msgspec.MsgspecError):
        status, body = _get(prism_url, "/v1/engines")
        if status == HTTPStatus.OK:
            engines = msgspec.json.decode(body, type=_Engines).engines
            return frozenset(engine.engine for engine in engines if engine.serving and not engine.draining)
    return frozenset()


def _get(url: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWERS_WITHIN_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
