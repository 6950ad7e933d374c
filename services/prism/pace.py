"""How fast an engine computes prompts beside the answers that are there, in steps no longer than those allow. Pure, compiled."""

import math
from typing import Any, NamedTuple

import numpy as np

from services.prism.compiled import compiled
from services.prism.engine_row import Array
from services.prism.speeds import CHUNKS_TOKENS

MOST_GAP_PACES = 4.0
"""As lens has it: the longest step, in paces."""
LEAST_S = 1e-9
_MOST_LENT = 10.0


class Pace(NamedTuple):
    """Of one engine, with those that are there and on their way."""

    there_s: float
    """The tightest of the answers', infinite without any."""
    pace_s: float
    """So long are steps at most in the long run: no step is shorter than its answers take."""
    decode_s: float
    """A step of its answers alone."""
    joined_s: float
    """With one more answer."""
    beside_s: Array
    """So much longer is a step with a chunk of each of `CHUNKS_TOKENS`."""
    rate: float
    """Prompt tokens a second."""


@compiled
def pace_of(row: Any, requests_ahead: float, on_their_way: float, caution: float) -> Pace:
    """The pace of an engine.

    Args:
        row: of the engine.
        requests_ahead: that have no answer yet.
        on_their_way: of these, those that the row does not count; their prompts are taken to be as long as the reference.
        caution: what to multiply all times by.
    """
    more_s = on_their_way * (row.joined_s - row.decode_s) / 2
    decode_s, joined_s = caution * (row.decode_s + more_s), caution * (row.joined_s + more_s)
    beside_s = np.maximum(caution * row.beside_s, LEAST_S)
    there_s = math.inf if row.decodes + requests_ahead < 1.0 else row.step_target_s
    pace_s = max(there_s, decode_s)
    return Pace(there_s, pace_s, decode_s, joined_s, beside_s, _rate(row, decode_s, beside_s, pace_s))


@compiled
def joint_rate(row: Any, pace: Pace, own_pace_s: float) -> float:
    """Prompt tokens a second with one more answer, at its pace if that is tighter."""
    return float(_rate(row, pace.joined_s, pace.beside_s, max(min(pace.there_s, own_pace_s), pace.joined_s)))


@compiled
def least_prefill_s(pace: Pace, tokens: float, step_tokens: float, credit_s: float) -> float:
    """Until so many prompt tokens are computed: in as few steps as gaps between tokens allow, or at the rate, whichever is later.

    Steps are not rounded up: `tokens` is a mean over what may be ahead, and fewer of those, where a slower engine gives more of
    them up, would look like a step less.

    Args:
        step_tokens: the most in a step.
        credit_s: so much are the answers ahead of their targets: they lend it.
    """
    at_once_s = _chunk_s(tokens, pace.beside_s)
    most_s = max(MOST_GAP_PACES * pace.pace_s - pace.decode_s, pace.beside_s[0])
    steps = max(at_once_s / most_s, tokens / step_tokens, 1.0)
    lent_s = min(pace.decode_s / max(pace.pace_s - pace.decode_s, LEAST_S), _MOST_LENT) * credit_s
    return float(max(at_once_s + pace.decode_s * steps, tokens / pace.rate - lent_s))


@compiled
def per_token_s(pace: Pace) -> float:
    """So much longer is a step with another prompt token."""
    return float((pace.beside_s[3] - pace.beside_s[2]) / (CHUNKS_TOKENS[3] - CHUNKS_TOKENS[2]))


@compiled
def within(value: float, span: float) -> float:
    """How much of a span lies before a value, from none to all of it."""
    return min(max(value / span, 0.0), 1.0)


@compiled
def _rate(row: Any, decode_s: float, beside_s: Array, pace_s: float) -> float:
    """Prompt tokens a second in the largest steps that the pace and the engine allow."""
    room_s = pace_s - decode_s
    tokens = min(room_s / beside_s[0], 1.0) * CHUNKS_TOKENS[0]
    for place in range(len(CHUNKS_TOKENS) - 1):
        longer_s = max(beside_s[place + 1] - beside_s[place], LEAST_S)
        tokens += within(room_s - beside_s[place], longer_s) * (CHUNKS_TOKENS[place + 1] - CHUNKS_TOKENS[place])
    tokens = min(max(tokens, row.least_tokens), max(row.step_tokens - row.decodes, 1.0))
    return float(tokens / (decode_s + _chunk_s(tokens, beside_s)))


@compiled
def _chunk_s(tokens: float, beside_s: Array) -> float:
    """How much longer a step is with a chunk of so many tokens; as several steps if they are more than the largest chunk."""
    took_s = min(tokens / CHUNKS_TOKENS[0], 1.0) * beside_s[0]
    for place in range(len(CHUNKS_TOKENS) - 1):
        span_tokens = CHUNKS_TOKENS[place + 1] - CHUNKS_TOKENS[place]
        took_s += within(tokens - CHUNKS_TOKENS[place], span_tokens) * (beside_s[place + 1] - beside_s[place])
    return float(took_s + max(tokens / CHUNKS_TOKENS[-1] - 1.0, 0.0) * beside_s[-1])
