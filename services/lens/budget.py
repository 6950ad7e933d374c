"""How many prefill tokens fit in a step: the most that the step model foresees within the target time."""

import math
from itertools import cycle

from shared.steptime import StepModel, StepShape

NEAR_ENOUGH = 1 / 64
"""Of a chunk; steps take as much longer or shorter by themselves."""


def prefill_budget_tokens(
    model: StepModel,
    step: StepShape,
    *,
    target_s: float,
    most_tokens: int,
    least_tokens: int,
    cached_tokens: int,
) -> int:
    """A prefill chunk beside what the step has already that keeps it within `target_s`: the largest, or little less.

    Found by interpolation, a look just beside what that gives, and halving, in turn: no step takes less time for a token more, and
    step times are nearly straight lines, with steps in them.

    Args:
        step: what runs in any case.
        target_s: where none is left, the chunk is the least.
        most_tokens: no chunk may be larger; 0 or less gives 0.
        least_tokens: a chunk of this size is allowed whatever it takes, so that prefills get on under any load.
        cached_tokens: what the chunk's sequence has in the cache already.

    Returns:
        A chunk that fits, or the least; one that is larger by `NEAR_ENOUGH` of it, and by a token, would not fit.
    """

    def takes_s(chunk_tokens: int) -> float:
        return float(model.step_time_s(step.with_chunk(chunk_tokens, cached_tokens)))

    most_tokens = max(most_tokens, 0)
    fitting = min(max(least_tokens, 0), most_tokens)
    if fitting == most_tokens or target_s <= 0.0:
        return fitting
    failing, failing_s = most_tokens, takes_s(most_tokens)
    if failing_s <= target_s:
        return most_tokens
    fitting_s = takes_s(fitting)
    if fitting_s > target_s:
        return fitting
    looks = cycle((_interpolated, _beside, _halfway))
    fitted = True
    while failing - fitting > 1 + NEAR_ENOUGH * fitting:
        share = (target_s - fitting_s) / (failing_s - fitting_s)
        middle = next(looks)(fitting, failing, share, fitted)
        middle = min(max(middle, fitting + 1), failing - 1)
        middle_s = takes_s(middle)
        fitted = middle_s <= target_s
        if fitted:
            fitting, fitting_s = middle, middle_s
        else:
            failing, failing_s = middle, middle_s
    return fitting


def _interpolated(fitting: int, failing: int, share: float, _fitted: bool) -> int:
    return fitting + round(share * (failing - fitting))


def _beside(fitting: int, failing: int, _share: float, fitted: bool) -> int:
    """As far from the last look as ends the search if it turns out the other way."""
    return fitting + 1 + int(NEAR_ENOUGH * fitting) if fitted else math.ceil((failing - 1) / (1 + NEAR_ENOUGH))


def _halfway(fitting: int, failing: int, _share: float, _fitted: bool) -> int:
    return (fitting + failing) // 2
