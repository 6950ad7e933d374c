"""What prism's API is, as OpenAPI 3.1: the document and its paths.

Bodies are in `openapi_bodies`, the bounds of requests' fields in `openapi_limits`, headers in `openapi_headers`, and what all
operations have in common in `openapi_operations`.
"""

from collections.abc import Collection
from typing import Any

from services.prism.openapi_bodies import QuoteAnswer, RouteAnswer, as_json, reference, schemas
from services.prism.openapi_headers import OF_A_RATE, OF_AN_ANSWER, parameters, response_headers
from services.prism.openapi_operations import get, post
from shared.api import ChatRequest, CompletionRequest, ModelList

Json = dict[str, Any]


def description(*, slo_classes: Collection[str], keys: bool) -> Json:
    """The OpenAPI document.

    Some rules have no place in it, and get a 400 that names the field all the same: a chat with no text at all, two
    limits that differ, `stream_options` without `stream`, and what an engine's tokenizer makes of a prompt.

    Args:
        slo_classes: those that are configured.
        keys: whether clients must show one.
    """
    components: Json = {"schemas": schemas()}
    if keys:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SynergySched prism",
            "version": "1",
            "description": "The OpenAI API over a fleet of engines, with latency targets a request.",
        },
        "paths": {**_generation(slo_classes, keys), **_fleet(keys), **_of_the_process()},
        "components": components,
    }


def _generation(slo_classes: Collection[str], keys: bool) -> Json:
    """Answers, and what would become of a request for one."""
    headers, rate = parameters(slo_classes, keys), OF_A_RATE if keys else ()
    chat, completion = reference(ChatRequest), reference(CompletionRequest)
    either = {"anyOf": [chat, completion]}
    generated = {
        "description": "The answer; its `x-slo-…` headers say what was promised",
        "headers": response_headers(*OF_AN_ANSWER, *rate),
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }
    route = _answer(as_json(RouteAnswer), response_headers(*rate))
    quote = _answer(as_json(QuoteAnswer), response_headers(*rate))
    return {
        "/v1/chat/completions": {"post": post("Answer a chat", headers, chat, generated, keys=keys)},
        "/v1/completions": {"post": post("Continue a text", headers, completion, generated, keys=keys)},
        "/v1/route": {"post": post("Which engine to ask, for a proxy of your own", headers, either, route, keys=keys)},
        "/v1/slo/quote": {"post": post("What a request would be promised", headers, either, quote, keys=keys)},
    }


def _fleet(keys: bool) -> Json:
    """What there is."""
    engines: Json = {"type": "object", "required": ["engines"], "properties": {"engines": {"type": "array"}}}
    models = _answer(as_json(ModelList), response_headers())
    fleet = _answer({"application/json": {"schema": engines}}, response_headers())
    return {
        "/v1/models": {"get": get("The models that are served", models, keys=keys)},
        "/v1/engines": {"get": get("The fleet", fleet, keys=keys)},
    }


def _of_the_process() -> Json:
    """What anyone may see of this replica."""
    json: Json = {"application/json": {"schema": {}}}
    text: Json = {"text/plain": {"schema": {}}}
    ready = get("Whether it can serve, and what it lacks", _answer(json), unready=json)
    return {
        "/openapi.json": {"get": get("This description", _answer(json))},
        "/health/live": {"get": get("Whether the process lives", _answer(json))},
        "/health/ready": {"get": ready},
        "/metrics": {"get": get("Metrics for Prometheus", _answer(text))},
    }


def _answer(content: Json, headers: Json | None = None) -> Json:
    named: Json = {} if headers is None else {"headers": headers}
    return {"description": "The answer", **named, "content": content}
