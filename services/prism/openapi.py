"""What prism's API is, as OpenAPI 3.1: bodies from the very structs that decode them, narrowed to what is supported."""

from collections.abc import Collection, Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from shared import headers as names
from shared.api import (
    LONGEST_STOP_CHARACTERS,
    MOST_STOP_STRINGS,
    MOST_TOKENS,
    NEUTRAL_VALUES,
    SEED_BOUND,
    UNSUPPORTED_UNLESS_NEUTRAL,
    ChatRequest,
    CompletionRequest,
    ModelList,
)
from shared.slo import (
    CLASS_HEADER,
    DEFAULT_CLASS,
    E2E_HEADER,
    LEAST_TARGET_MS,
    LONGEST_TARGET_MS,
    TPOT_HEADER,
    TTFT_HEADER,
)
from shared.standing import LONGEST_TENANT_CHARACTERS, PRIORITY_BOUND

Json = dict[str, Any]

_TEXT: Json = {"type": "string", "minLength": 1}
_TOKEN_IDS: Json = {"type": "array", "items": {"type": "integer"}, "minItems": 1}
_SINGLE_PROMPT: Json = {
    "anyOf": [
        _TEXT,
        _TOKEN_IDS,
        {"type": "array", "items": {"anyOf": [_TEXT, _TOKEN_IDS]}, "minItems": 1, "maxItems": 1},
    ]
}
_PREDICTIONS = (names.PREDICTED_TTFT_MS, names.PREDICTED_TPOT_MS)
_RATE = (names.RATE_LIMIT, names.RATE_REMAINING, names.RATE_RESET)
_RETRY = ("retry-after", names.RETRY_AFTER_MS)


class Error(msgspec.Struct):
    """What was wrong, as OpenAI says it; `param` names the field or header."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct):
    """The body of every answer that is no success."""

    error: Error


class Correction(msgspec.Struct):
    """Predictions are what was foreseen times the factors; a deviation is of ln(what came ÷ what was told)."""

    ttft_factor: float
    ttft_deviation: float
    tpot_factor: float
    tpot_deviation: float


class RouteShown(msgspec.Struct):
    """A decision; predictions are null where nothing could be foreseen.

    `p_met` is how probable it is that all targets are met there, `best_other_p_met` the most that it is on another engine,
    `model_known` whether the engine is known well enough to hold predictions against it, `state_age_ms` how old the news of
    its load is, `cached_tokens` what of the prompt need not be computed.
    """

    engine: str
    url: str
    reason: str
    predicted_ttft_ms: float | None
    predicted_tpot_ms: float | None
    p_met: float | None
    best_other_p_met: float | None
    correction: Correction
    model_known: bool
    state_age_ms: float | None
    cached_tokens: int


class RouteAnswer(RouteShown):
    """The engine to ask: POST the same body to `url` + `path` with these headers, within a few seconds."""

    path: str
    headers: dict[str, str]
    route_ms: float


class Refusal(msgspec.Struct):
    """What the request would be told in place of an answer, and when to ask again."""

    status: int
    code: str
    message: str
    retry_after_ms: int | None


class Promised(msgspec.Struct, rename={"class_": "class"}):
    """Targets as they would be promised; null promises nothing."""

    class_: str
    ttft_ms: float | None
    tpot_ms: float | None
    e2e_ms: float | None


class Outlook(msgspec.Struct):
    """A route, or a refusal."""

    route: RouteShown | None
    refusal: Refusal | None


class EngineOutlook(Outlook):
    """As if this engine were the only one."""

    engine: str


class QuoteAnswer(Outlook):
    """What would be decided now, for the whole fleet and for each engine that has the model."""

    model: str
    promised: Promised
    engines: list[EngineOutlook]
    route_ms: float


def description(*, slo_classes: Collection[str], keys: bool) -> Json:
    """The OpenAPI document.

    Some rules have no place in it, and get a 400 that names the field all the same: a chat with no text at all, two
    limits that differ, `stream_options` without `stream`, and what an engine's tokenizer makes of a prompt.

    Args:
        slo_classes: those that are configured.
        keys: whether clients must show one.
    """
    kinds = (ChatRequest, CompletionRequest, ErrorBody, ModelList, RouteAnswer, QuoteAnswer)
    _, schemas = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    for kind in ("ChatRequest", "CompletionRequest"):
        _narrow(schemas[kind])
    described: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "SynergySched prism",
            "version": "1",
            "description": "The OpenAI API over a fleet of engines, with latency targets a request.",
        },
        "paths": _paths(_parameters(slo_classes, keys), keys),
        "components": {"schemas": schemas},
    }
    if keys:
        described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return described


def _paths(parameters: list[Json], keys: bool) -> Json:
    either = {"anyOf": [_ref("ChatRequest"), _ref("CompletionRequest")]}
    answers: Json = {
        "application/json": {"schema": {"type": "object"}},
        "text/event-stream": {"schema": {"type": "string"}},
    }
    engines: Json = {"type": "object", "required": ["engines"], "properties": {"engines": {"type": "array"}}}
    return {
        "/openapi.json": {"get": _looks("This description", _anything("application/json"))},
        "/v1/chat/completions": {"post": _asks(parameters, "Answer a chat", _ref("ChatRequest"), answers, keys)},
        "/v1/completions": {"post": _asks(parameters, "Continue a text", _ref("CompletionRequest"), answers, keys)},
        "/v1/route": {
            "post": _asks(
                parameters, "Which engine to ask, for a proxy of your own", either, _as_json("RouteAnswer"), keys
            )
        },
        "/v1/slo/quote": {
            "post": _asks(parameters, "What a request would be promised", either, _as_json("QuoteAnswer"), keys)
        },
        "/v1/models": {"get": _looks("The models that are served", _as_json("ModelList"), keys, named=True)},
        "/v1/engines": {"get": _looks("The fleet", {"application/json": {"schema": engines}}, keys, named=True)},
        "/health/live": {"get": _looks("Whether the process lives", _anything("application/json"))},
        "/health/ready": {
            "get": _looks("Whether it can serve, and what it lacks", _anything("application/json"), unready=True)
        },
        "/metrics": {"get": _looks("Metrics for Prometheus", _anything("text/plain"))},
    }


def _asks(parameters: list[Json], summary: str, body: Json, answers: Json, keys: bool) -> Json:
    said = (names.ENGINE, names.ROUTE_REASON, *_PREDICTIONS, TTFT_HEADER, TPOT_HEADER, E2E_HEADER, names.RELEGATED)
    is_answered = "text/event-stream" in answers
    refusals = [HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
    failures = [HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE]
    return {
        "summary": summary,
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {
                "description": "The answer; its `x-slo-…` headers say what was promised"
                if is_answered
                else "The answer",
                "headers": _headers(*(said if is_answered else ()), *(_RATE if keys else ())),
                "content": answers,
            },
            **_errors([*refusals, *failures]),
            **_guarded(keys),
        },
        **_secured(keys),
    }


def _looks(summary: str, answers: Json, keys: bool = False, *, named: bool = False, unready: bool = False) -> Json:
    headers: Json = {"headers": _headers()} if named else {}
    responses: Json = {"200": {"description": "The answer", **headers, "content": answers}}
    if unready:
        responses["503"] = {"description": "Not now", "content": answers}
    return {"summary": summary, "responses": {**responses, **_guarded(keys)}, **_secured(keys)}


def _guarded(keys: bool) -> Json:
    """A key that cannot be checked gets a 503; whatever asks says that of itself already."""
    return _errors([HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE]) if keys else {}


def _secured(keys: bool) -> Json:
    return {"security": [{"key": []}]} if keys else {}


def _errors(statuses: list[HTTPStatus]) -> Json:
    return {str(int(status)): _error(status) for status in statuses}


def _error(status: HTTPStatus) -> Json:
    headers = _RETRY if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE) else ()
    return {"description": status.phrase, "headers": _headers(*headers), "content": _as_json("ErrorBody")}


def _headers(*optional: str) -> Json:
    text: Json = {"schema": {"type": "string"}}
    return {names.REQUEST_ID: {**text, "required": True}, **dict.fromkeys(optional, text)}


def _parameters(slo_classes: Collection[str], keys: bool) -> list[Json]:
    target = {"type": "number", "minimum": LEAST_TARGET_MS, "maximum": LONGEST_TARGET_MS}
    said: Mapping[str, Json] = {
        TTFT_HEADER: {**target, "description": "Target for the time from arrival to the first token"},
        TPOT_HEADER: {**target, "description": "Target for the time per output token after the first"},
        E2E_HEADER: {**target, "description": "Target for the time from arrival to the last token"},
        CLASS_HEADER: {
            "enum": sorted({DEFAULT_CLASS, *slo_classes}),
            "description": "Its targets are for a request that names none itself",
        },
        names.PRIORITY: {
            "type": "integer",
            "minimum": -PRIORITY_BOUND,
            "maximum": PRIORITY_BOUND,
            "description": "A request of a higher one goes first" + (", up to what its key allows" if keys else ""),
        },
        names.REQUEST_ID: {"type": "string", "description": "Echoed where it is 1 to 128 visible ASCII characters"},
    }
    if not keys:
        tenant = {"type": "string", "maxLength": LONGEST_TENANT_CHARACTERS, "pattern": r"^[\x20-\x7e]*$"}
        said = {**said, names.TENANT: {**tenant, "description": "Whose request it is"}}
    return [{"name": name, "in": "header", "required": False, "schema": schema} for name, schema in said.items()]


def _narrow(schema: Json) -> None:
    """What the structs' types allow and `shared.api` refuses all the same."""
    tokens = {"type": "integer", "minimum": 1, "maximum": MOST_TOKENS}
    stop = {"type": "string", "minLength": 1, "maxLength": LONGEST_STOP_CHARACTERS}
    narrower: Mapping[str, Json] = {
        "max_tokens": tokens,
        "max_completion_tokens": tokens,
        "top_k": {"type": "integer", "minimum": -1, "maximum": MOST_TOKENS},
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "seed": {"type": "integer", "minimum": -SEED_BOUND, "maximum": SEED_BOUND - 1},
        "stop": {"anyOf": [stop, {"type": "array", "items": stop, "maxItems": MOST_STOP_STRINGS}]},
    }
    properties = schema["properties"]
    for name, narrow in narrower.items():
        if name in properties:
            properties[name] = {"anyOf": [narrow, {"type": "null"}], "default": None}
    for name in UNSUPPORTED_UNLESS_NEUTRAL:
        if name in properties:
            properties[name] = _neutral(properties[name], name)
    if "messages" in properties:
        properties["messages"]["minItems"] = 1
    if "prompt" in properties:
        properties["prompt"] = _SINGLE_PROMPT


def _neutral(schema: Json, name: str) -> Json:
    """A field that is known and has no effect: it may be null, false or what it is when nobody sets it."""
    known = NEUTRAL_VALUES.get(name, ())
    values = [msgspec.to_builtins(value) for value in known]
    may_be_false = schema.get("type") == "boolean" or {"type": "boolean"} in schema.get("anyOf", ())
    default = schema.get("default")
    others = [*([False] if may_be_false and False not in values else []), *([] if default in values else [default])]
    return {"enum": [*values, *others], "default": default}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _as_json(name: str) -> Json:
    return {"application/json": {"schema": _ref(name)}}


def _anything(content_type: str) -> Json:
    return {content_type: {"schema": {}}}
