"""Prompts that wait at an engine, which computes what is due earlier first and gives up what cannot be on time. Pure, compiled.

Times go by the intervals of `DUE_EDGES_S`.
"""

import math
from typing import Any, NamedTuple

from services.prism.compiled import compiled
from services.prism.engine_row import Array
from services.prism.pace import within
from shared.engine_state import DUE_EDGES_S, DUE_INTERVALS

BEGIN_S = (0.0, *DUE_EDGES_S)
EDGES_S = (*DUE_EDGES_S, 2 * DUE_EDGES_S[-1])
"""Where each interval begins and ends; the last, which has no end, as if it were as long as all before it."""
SPEED_DEVIATION = 0.2
FATES = (1.0 - SPEED_DEVIATION, 1.0 + SPEED_DEVIATION)
"""So many times as fast things may go, as likely each."""


class Queue(NamedTuple):
    """Of one engine, as it finds a request; means over the fates."""

    kept_tokens: float
    """Prompt tokens that can be on time."""
    kept_before: float
    """Of those, the ones that are due before the request."""
    others_broken: float
    """Promises to requests waiting that no more fit beside the request, which lens then gives up."""


class Kept(NamedTuple):
    """Of the prompt tokens due up to an interval, what is computed in time."""

    tokens: float
    """Of those due in the interval."""
    so_far: float
    given: float
    least_left: float
    """Of what could be computed by then, the least that nothing was there for so far; negative where there was too much."""


@compiled
def nothing_kept() -> Kept:
    """Before the first interval."""
    return Kept(0.0, 0.0, 0.0, math.inf)


@compiled
def keep_next(earlier: Kept, tokens: float, by_then: float) -> Kept:
    """With the next interval, in which `tokens` are due; `by_then` can be computed by its end, what is due earlier first."""
    given = earlier.given + tokens
    least_left = min(earlier.least_left, by_then - given)
    so_far = given + min(least_left, 0.0)
    return Kept(max(so_far - earlier.so_far, 0.0), so_far, given, least_left)


@compiled
def queue_of(row: Any, on_their_way: Array, rate: float, own_tokens: float, own_due_s: float) -> Queue:
    """The queue of an engine that computes `rate` tokens a second.

    Args:
        row: of the engine.
        on_their_way: that the row does not count, requests and prompt tokens, a row each.
        own_tokens: of the request's.
        own_due_s: when it is due.
    """
    kept_in_all = kept_before = others_broken = 0.0
    for fate in FATES:
        alone, beside = nothing_kept(), nothing_kept()
        for interval in range(DUE_INTERVALS):
            before = within(own_due_s - BEGIN_S[interval], EDGES_S[interval] - BEGIN_S[interval])
            own = own_tokens if 0.0 < before < 1.0 else 0.0
            by_then = fate * rate * EDGES_S[interval]
            requests = row.requests_by_due[interval] + on_their_way[0, interval]
            tokens = row.tokens_by_due[interval] + on_their_way[1, interval]
            alone = keep_next(alone, tokens, by_then)
            beside = keep_next(beside, tokens + own, by_then)
            kept_in_all += alone.tokens
            kept_before += before * alone.tokens
            lost_tokens = max(alone.tokens - max(beside.tokens - own, 0.0), 0.0)
            others_broken += lost_tokens / max(tokens / max(requests, 1.0), 1.0)
    return Queue(kept_in_all / len(FATES), kept_before / len(FATES), others_broken / len(FATES))


@compiled
def due_share(row: Any, on_their_way: Array, rate: float) -> float:
    """Of the time until they are due, the most that prompts waiting take."""
    share, tokens = 0.0, 0.0
    for interval in range(DUE_INTERVALS):
        tokens += row.tokens_by_due[interval] + on_their_way[1, interval]
        share = max(share, tokens / EDGES_S[interval] / rate)
    return share


class Arrivals(NamedTuple):
    """Of late, at one engine."""

    tokens_per_s: float
    before_per_s: float
    """Of those, what comes while a request waits and is due before it."""


@compiled
def arrivals_of(row: Any, given_s: float) -> Arrivals:
    """What comes to an engine.

    Args:
        row: of the engine.
        given_s: for the request's first token: what comes when is due before it as long as it is given less than what is left.
    """
    tokens_per_s = before_per_s = 0.0
    for interval in range(DUE_INTERVALS):
        middle_s = (BEGIN_S[interval] + EDGES_S[interval]) / 2
        tokens_per_s += row.arriving_tokens_per_s[interval]
        before_per_s += max(1.0 - middle_s / given_s, 0.0) * row.arriving_tokens_per_s[interval]
    return Arrivals(tokens_per_s, before_per_s)
