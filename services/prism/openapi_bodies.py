"""The bodies that prism takes and answers with, as schemas that msgspec makes of structs: of the very ones that decode requests."""

from typing import Any

import msgspec

from services.prism.openapi_limits import narrow
from shared.api import ChatRequest, CompletionRequest, ModelList

Json = dict[str, Any]

_SCHEMAS = "#/components/schemas/"


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
    `presumed_p_met` what it was before it was corrected by how such chances came true, `model_known` whether the engine is known well enough to hold predictions against it, `state_age_ms` how old the news of
    its load is, `cached_tokens` what of the prompt need not be computed.
    """

    engine: str
    url: str
    reason: str
    predicted_ttft_ms: float | None
    predicted_tpot_ms: float | None
    p_met: float | None
    best_other_p_met: float | None
    presumed_p_met: float | None
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


def schemas() -> Json:
    """Of all bodies, and of what they are made of, by name."""
    kinds = (ChatRequest, CompletionRequest, ErrorBody, ModelList, RouteAnswer, QuoteAnswer)
    _, made = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS + "{name}")
    for kind in (ChatRequest, CompletionRequest):
        narrow(made[kind.__name__])
    return made


def reference(kind: type[msgspec.Struct]) -> Json:
    """To the schema of one of them."""
    return {"$ref": f"{_SCHEMAS}{kind.__name__}"}


def as_json(kind: type[msgspec.Struct]) -> Json:
    """The content that is one of them."""
    return {"application/json": {"schema": reference(kind)}}
