"""What the types of a request's fields allow and `shared.api` refuses all the same, as schemas."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shared.api import (
    LONGEST_STOP_CHARACTERS,
    MOST_STOP_STRINGS,
    MOST_TOKENS,
    NEUTRAL_VALUES,
    SEED_BOUND,
    UNSUPPORTED_UNLESS_NEUTRAL,
)

Json = dict[str, Any]

Limit = Annotated[int, Meta(ge=1, le=MOST_TOKENS)]
Stop = Annotated[str, Meta(min_length=1, max_length=LONGEST_STOP_CHARACTERS)]
Text = Annotated[str, Meta(min_length=1)]
TokenIds = Annotated[list[int], Meta(min_length=1)]
ListOfOne = Annotated[list[Text | TokenIds], Meta(min_length=1, max_length=1)]


class _Bounded(msgspec.Struct):
    """Fields of requests with their bounds. Nothing is decoded as this: errors name the field better when that is done by hand."""

    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    top_k: Annotated[int, Meta(ge=-1, le=MOST_TOKENS)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-SEED_BOUND, le=SEED_BOUND - 1)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=MOST_STOP_STRINGS)] | None = None


def narrow(schema: Json) -> None:
    """Put the bounds into a request's schema."""
    properties = schema["properties"]
    _, made = msgspec.json.schema_components((_Bounded,))
    narrower: Json = dict(made[_Bounded.__name__]["properties"])
    # A union of two kinds of lists, which no struct can have.
    narrower["prompt"] = {"anyOf": [msgspec.json.schema(kind) for kind in (Text, TokenIds, ListOfOne)]}
    for name in UNSUPPORTED_UNLESS_NEUTRAL:
        if name in properties:
            narrower[name] = _neutral(properties[name], name)
    properties.update({name: narrower[name] for name in properties.keys() & narrower.keys()})
    if "messages" in properties:
        properties["messages"]["minItems"] = 1


def _neutral(schema: Json, name: str) -> Json:
    """A field that is known and has no effect: it may be null, false or what it is when nobody sets it."""
    known = NEUTRAL_VALUES.get(name, ())
    values = [msgspec.to_builtins(value) for value in known]
    may_be_false = schema.get("type") == "boolean" or {"type": "boolean"} in schema.get("anyOf", ())
    default = schema.get("default")
    others = [*([False] if may_be_false and False not in values else []), *([] if default in values else [default])]
    return {"enum": [*values, *others], "default": default}
