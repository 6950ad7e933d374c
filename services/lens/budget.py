"""How many prefill tokens fit in a step: the most that the step model foresees within the target time."""

from shared.steptime import StepModel, StepShape


def prefill_budget_tokens(
    model: StepModel,
    step: StepShape,
    *,
    target_s: float,
    most_tokens: int,
    least_tokens: int,
    cached_tokens: int,
) -> int:
    """The largest prefill chunk beside what the step has already that keeps it within `target_s`.

    Found by halving, since no step takes less time for a token more.

    Args:
        step: what runs in any case.
        most_tokens: no chunk may be larger; 0 gives 0.
        least_tokens: a chunk of this size is allowed whatever it takes, so that prefills get on under any load.
        cached_tokens: what the chunk's sequence has in the cache already.
    """

    def fits(chunk_tokens: int) -> bool:
        longer = StepShape(
            step.batch_size + 1,
            step.num_tokens + chunk_tokens,
            step.kv_tokens + cached_tokens,
            step.attention_work + chunk_tokens * (cached_tokens + chunk_tokens / 2),
            step.prefill_seqs + 1,
        )
        return float(model.step_time_s(longer)) <= target_s

    if most_tokens <= 0:
        return 0
    if fits(most_tokens):
        return most_tokens
    fitting, failing = min(least_tokens, most_tokens), most_tokens
    while failing - fitting > 1:
        middle = (fitting + failing) // 2
        if fits(middle):
            fitting = middle
        else:
            failing = middle
    return fitting
