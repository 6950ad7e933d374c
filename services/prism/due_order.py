"""Prompts that wait at an engine, which computes what is due earlier first and gives up what cannot be on time. Pure, compiled.

Times go by the intervals of `DUE_EDGES_S`.
"""

from typing import Any, NamedTuple

import numpy as np

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


@compiled
def queue_of(requests_by_due: Array, tokens_by_due: Array, rate: float, own_tokens: float, own_due_s: float) -> Queue:
    """The queue of an engine that computes `rate` tokens a second.

    Args:
        requests_by_due: that wait.
        tokens_by_due: of their prompts.
        own_tokens: of the request's.
        own_due_s: when it is due.
    """
    before, own_by_due = np.empty(DUE_INTERVALS), np.zeros(DUE_INTERVALS)
    for interval in range(DUE_INTERVALS):
        before[interval] = within(own_due_s - BEGIN_S[interval], EDGES_S[interval] - BEGIN_S[interval])
        if 0.0 < before[interval] < 1.0:
            own_by_due[interval] = own_tokens
    kept_in_all = kept_before = others_broken = 0.0
    for fate in FATES:
        kept = kept_tokens(tokens_by_due, rate * fate)
        kept_with_own = kept_tokens(tokens_by_due + own_by_due, rate * fate)
        for interval in range(DUE_INTERVALS):
            kept_in_all += kept[interval]
            kept_before += before[interval] * kept[interval]
            lost_tokens = max(kept[interval] - max(kept_with_own[interval] - own_by_due[interval], 0.0), 0.0)
            others_broken += lost_tokens / max(tokens_by_due[interval] / max(requests_by_due[interval], 1.0), 1.0)
    return Queue(kept_in_all / len(FATES), kept_before / len(FATES), others_broken / len(FATES))


@compiled
def kept_tokens(tokens_by_due: Array, rate: float) -> Array:
    """Of the prompt tokens due in each interval, those that are computed by its end, what is due earlier first.

    Args:
        rate: tokens a second.
    """
    kept = np.empty(DUE_INTERVALS)
    given = kept_earlier = 0.0
    least_left = np.inf
    for interval in range(DUE_INTERVALS):
        given += tokens_by_due[interval]
        least_left = min(least_left, rate * EDGES_S[interval] - given)
        kept_so_far = given + min(least_left, 0.0)
        kept[interval] = max(kept_so_far - kept_earlier, 0.0)
        kept_earlier = kept_so_far
    return kept


@compiled
def due_share(tokens_by_due: Array, rate: float) -> float:
    """Of the time until they are due, the most that prompts waiting take."""
    share, tokens = 0.0, 0.0
    for interval in range(DUE_INTERVALS):
        tokens += tokens_by_due[interval]
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
