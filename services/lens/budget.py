"""How many prefill tokens fit in a step: the most that the step model foresees within the target time."""

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

    Found by interpolation and halving in turn, since no step takes less time for a token more: step times are nearly straight
    lines, with steps in them.

    Args:
        step: what runs in any case.
        most_tokens: no chunk may be larger; 0 gives 0.
        least_tokens: a chunk of this size is allowed whatever it takes, so that prefills get on under any load.
        cached_tokens: what the chunk's sequence has in the cache already.

    Returns:
        A chunk that fits, or the least; one that is larger by `NEAR_ENOUGH` of it, and by a token, would not fit.
    """

    def takes_s(chunk_tokens: int) -> float:
        longer = StepShape(
            step.batch_size + 1,
            step.num_tokens + chunk_tokens,
            step.kv_tokens + cached_tokens,
            step.attention_work + chunk_tokens * (cached_tokens + chunk_tokens / 2),
            step.prefill_seqs + 1,
        )
        return float(model.step_time_s(longer))

    if most_tokens <= 0:
        return 0
    failing, failing_s = most_tokens, takes_s(most_tokens)
    if failing_s <= target_s:
        return most_tokens
    fitting = min(least_tokens, most_tokens)
    fitting_s = takes_s(fitting)
    interpolates = True
    while failing - fitting > 1 + NEAR_ENOUGH * fitting and fitting_s < target_s:
        share = (target_s - fitting_s) / (failing_s - fitting_s) if interpolates else 0.5
        middle = min(max(fitting + round(share * (failing - fitting)), fitting + 1), failing - 1)
        middle_s = takes_s(middle)
        if middle_s <= target_s:
            fitting, fitting_s = middle, middle_s
        else:
            failing, failing_s = middle, middle_s
        interpolates = not interpolates
    return fitting
