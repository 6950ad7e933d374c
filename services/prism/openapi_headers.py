"""The headers that prism takes and answers with."""

from collections.abc import Collection, Mapping
from typing import Any

from shared import headers as names
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

OF_AN_ANSWER = (
    names.ENGINE,
    names.ROUTE_REASON,
    names.PREDICTED_TTFT_MS,
    names.PREDICTED_TPOT_MS,
    TTFT_HEADER,
    TPOT_HEADER,
    E2E_HEADER,
    names.RELEGATED,
)
OF_A_RATE = (names.RATE_LIMIT, names.RATE_REMAINING, names.RATE_RESET)
OF_A_RETRY = ("retry-after", names.RETRY_AFTER_MS)


def response_headers(*optional: str) -> Json:
    """Of an answer: the request's name, and those that may be there."""
    text: Json = {"schema": {"type": "string"}}
    return {names.REQUEST_ID: {**text, "required": True}, **dict.fromkeys(optional, text)}


def parameters(slo_classes: Collection[str], keys: bool) -> list[Json]:
    """Of a request for tokens, or for what they would take.

    Args:
        slo_classes: those that are configured.
        keys: whether a key says whose request it is.
    """
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
