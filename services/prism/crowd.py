"""Who is at each engine, as arrays over engines: from their states, and from what was sent to them since. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from services.prism.dispatches import Load
from services.prism.fleet import EngineView
from services.prism.speeds import Array
from shared.engine_state import DUE_EDGES_S, DUE_INTERVALS

EDGES_S: Array = np.array([*DUE_EDGES_S, 2 * DUE_EDGES_S[-1]])[:, np.newaxis]
BEGIN_S: Array = np.array([0.0, *DUE_EDGES_S])[:, np.newaxis]
"""Where each interval of `DUE_EDGES_S` begins and ends; the last, which has no end, as if it were as long as all before it."""


class Crowd(NamedTuple):
    """Numbers by engine, those by interval with a first axis of intervals."""

    decodes: Array
    kv_tokens: Array
    requests_ahead: Array
    """That have no answer yet."""
    max_running: Array
    step_tokens: Array
    least_tokens: Array
    step_target_s: Array
    credit_s: Array
    in_flight_s: Array
    blocks_free: Array
    blocks_total: Array
    block_tokens: Array
    arriving_per_s: Array
    announced_at_s: Array
    forecast_written_at_s: Array
    is_cold: Array
    is_drifting: Array
    upper_ratio: Array
    tokens_by_due: Array
    """Prompt tokens to compute that can be on time, by when they were due when the state was written."""
    requests_by_due: Array
    arriving_tokens_per_s: Array
    """By the time given for a first token."""
    on_their_way: Array
    """Of the requests ahead, those that the state does not count."""


def crowd_of(engines: Sequence[EngineView], loads: Sequence[Load]) -> Crowd:
    """Those at these engines, what is on its way there included."""
    numbers = np.concatenate([engine.numbers for engine in engines]).reshape(len(engines), -1).T
    by_interval = numbers[-3 * DUE_INTERVALS :].reshape(3, DUE_INTERVALS, len(engines))
    crowd = Crowd._make((*numbers[: -3 * DUE_INTERVALS], *by_interval, np.zeros(len(engines))))
    expecting = [place for place, load in enumerate(loads) if load.pending.requests]
    if expecting:
        requests = np.array([loads[place].pending.requests_by_due for place in expecting]).T
        by_interval[0][:, expecting] += np.array([loads[place].pending.prompt_tokens_by_due for place in expecting]).T
        by_interval[1][:, expecting] += requests
        crowd.on_their_way[expecting] = requests.sum(axis=0)
        crowd.requests_ahead[:] += crowd.on_their_way
    return crowd
