"""Whatever a client sends, it gets a 4xx in OpenAI's form that names what was wrong; never a 500."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec
import pytest
from fastapi import FastAPI

from services.prism.app import create_app
from services.prism.decisions import Decisions
from services.prism.dispatches import Dispatches
from services.prism.fleet import Fleet, Pool
from services.prism.hindsight import Hindsight
from services.prism.metrics import Metrics
from services.prism.router import Router
from services.prism.upstream import Upstream
from shared.lifecycle import Readiness
from tests.unit.prism.builders import MODEL, engine

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
GOOD = {"model": MODEL, "prompt": "hello"}
GOOD_CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}


class FixedFleet:
    """A fleet of one engine that nobody can reach."""

    async def read(self) -> Fleet:
        return Fleet(pool=Pool.of((engine("a"),)), age_s=0.0)


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    error: dict[str, Any]


@pytest.fixture
async def app() -> AsyncIterator[FastAPI]:
    async with Upstream() as upstream:
        fleet, dispatches, metrics = FixedFleet(), Dispatches("r"), Metrics()
        hindsight = Hindsight("r", metrics, lambda _receipt: None)
        decisions = Decisions(fleet, dispatches, metrics)
        router = Router(decisions, upstream, metrics, hindsight, idle_s=1.0, answer_s=1.0)
        yield create_app(
            router, fleet, dispatches, metrics, Readiness(), hindsight, slo_classes={}, most_body_bytes=200_000
        )


async def ask(
    app: FastAPI, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> Response:
    """One exchange, without a network."""
    sent: list[Any] = []

    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": body})

    async def send(message: Any) -> None:
        sent.append(message)

    raw_headers = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw_headers, "query_string": b""}
    await app({**scope, "asgi": {"version": "3.0"}, "server": ("prism", 80), "scheme": "http"}, inbox.get, send)
    start, *bodies = sent
    return Response(
        status=start["status"],
        headers={name.decode(): value.decode() for name, value in start["headers"]},
        error=msgspec.json.decode(b"".join(message["body"] for message in bodies)).get("error", {}),
    )


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (COMPLETIONS, b"", None),
        (COMPLETIONS, b"{", None),
        (COMPLETIONS, b"[]", None),
        (COMPLETIONS, b"null", None),
        (COMPLETIONS, b"\xff\xfe", None),
        (COMPLETIONS, b'{"model": "tiny", "prompt": "\\ud800"}', None),
        (COMPLETIONS, b'{"model": "tiny", "prompt": "\xff"}', None),
        (COMPLETIONS, b"[" * 100_000, None),
        (COMPLETIONS, {"prompt": "hello"}, "model"),
        (COMPLETIONS, {"model": MODEL}, "prompt"),
        (COMPLETIONS, {**GOOD, "model": None}, "model"),
        (COMPLETIONS, {**GOOD, "prompt": ""}, "prompt"),
        (COMPLETIONS, {**GOOD, "prompt": []}, "prompt"),
        (COMPLETIONS, {**GOOD, "prompt": ["a", "b"]}, "prompt"),
        (COMPLETIONS, {**GOOD, "prompt": 3}, "prompt"),
        (COMPLETIONS, {**GOOD, "max_tokens": -1}, "max_tokens"),
        (COMPLETIONS, {**GOOD, "max_tokens": 0}, "max_tokens"),
        (COMPLETIONS, {**GOOD, "max_tokens": "many"}, "max_tokens"),
        (COMPLETIONS, {**GOOD, "temperature": 3}, "temperature"),
        (COMPLETIONS, {**GOOD, "top_p": 0}, "top_p"),
        (COMPLETIONS, {**GOOD, "n": 2}, "n"),
        (COMPLETIONS, {**GOOD, "best_of": 3}, "best_of"),
        (COMPLETIONS, {**GOOD, "stream": "yes"}, "stream"),
        (COMPLETIONS, {**GOOD, "stop": ["x"] * 5}, "stop"),
        (COMPLETIONS, {**GOOD, "seed": 2**70}, "seed"),
        (COMPLETIONS, {**GOOD, "no_such_field": 1}, "no_such_field"),
        (COMPLETIONS, {**GOOD, "stream_options": {"include_usage": True}}, "stream_options"),
        (CHAT, {"model": MODEL, "messages": []}, "messages"),
        (CHAT, {"model": MODEL, "messages": "hello"}, "messages"),
        (CHAT, {"model": MODEL, "messages": [{"role": "user", "content": ""}]}, "messages"),
        (CHAT, {"model": MODEL, "messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        (CHAT, {**GOOD_CHAT, "tools": [{"type": "function"}]}, "tools"),
        (CHAT, {**GOOD_CHAT, "response_format": {"type": "json_object"}}, "response_format"),
        (CHAT, {**GOOD_CHAT, "max_completion_tokens": -3}, "max_completion_tokens"),
    ],
)
async def test_a_body_that_cannot_be_run_is_a_400_that_names_the_field(
    app: FastAPI, path: str, body: bytes | dict[str, Any], param: str | None
) -> None:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    response = await ask(app, "POST", path, data)
    assert (response.status, response.error["type"]) == (400, "invalid_request_error")
    assert response.error["param"] == param
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-slo-ttft-ms": "soon"},
        {"x-slo-tpot-ms": "-1"},
        {"x-llm-d-slo-ttft-ms": "nan"},
        {"x-slo-e2e-ms": "inf"},
        {"x-slo-class": "royal"},
    ],
)
async def test_a_target_that_makes_no_sense_is_a_400_that_names_the_header(
    app: FastAPI, headers: dict[str, str]
) -> None:
    response = await ask(app, "POST", COMPLETIONS, msgspec.json.encode(GOOD), headers)
    [header] = headers
    assert (response.status, response.error["param"]) == (400, header.replace("-llm-d", ""))


async def test_an_unknown_model_is_a_404_that_names_it(app: FastAPI) -> None:
    status, _, error = await ask(app, "POST", COMPLETIONS, msgspec.json.encode({**GOOD, "model": "gpt-5"}))
    assert (status, error["param"], error["code"]) == (404, "model", "model_not_found")
    assert "gpt-5" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("POST", "/", 404, "not_found"),
        ("GET", COMPLETIONS, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ],
)
async def test_an_unknown_path_or_method_is_an_openai_error(
    app: FastAPI, method: str, path: str, status: int, code: str
) -> None:
    response = await ask(app, method, path)
    assert (response.status, response.error["code"]) == (status, code)
    assert response.error["type"] == "invalid_request_error"


async def test_a_name_for_the_request_is_echoed_only_if_it_is_harmless(app: FastAPI) -> None:
    assert (await ask(app, "GET", "/", headers={"x-request-id": "mine"})).headers["x-request-id"] == "mine"
    for strange in ("a b", "x" * 129, ""):
        made = (await ask(app, "GET", "/", headers={"x-request-id": strange})).headers["x-request-id"]
        assert len(made) == 32


@pytest.mark.parametrize("path", ["/v1/models", "/v1/engines"])
async def test_a_look_at_what_there_is_has_the_name_of_its_request_too(app: FastAPI, path: str) -> None:
    status, headers, _ = await ask(app, "GET", path, headers={"x-request-id": "mine"})
    assert (status, headers["x-request-id"]) == (200, "mine")
    assert len((await ask(app, "GET", path)).headers["x-request-id"]) == 32
