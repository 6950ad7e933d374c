"""How many prefill tokens fit in a step: the most that the step model foresees within the target time."""

import numpy as np

from shared.steptime import StepModel, StepShape


def prefill_budget_tokens(
    model: StepModel,
    decodes: StepShape,
    *,
    target_s: float,
    most_tokens: int,
    least_tokens: int,
    cached_tokens: int,
) -> int:
    """The largest prefill chunk beside these decodes that keeps the step within `target_s`.

    Args:
        decodes: the step without any prefill.
        most_tokens: no chunk may be larger; 0 gives 0.
        least_tokens: a chunk of this size is allowed whatever it takes, so that prefills get on under any load.
        cached_tokens: what the chunk's sequence has in the cache already.
    """
    if most_tokens <= 0:
        return 0
    chunk_tokens = np.arange(1, most_tokens + 1, dtype=np.float64)
    candidates = StepShape(
        batch_size=decodes.batch_size + 1,
        num_tokens=decodes.num_tokens + chunk_tokens,
        kv_tokens=decodes.kv_tokens + cached_tokens,
        attention_work=chunk_tokens * (cached_tokens + chunk_tokens / 2),
        prefill_seqs=1.0,
    )
    fitting = np.flatnonzero(model.step_time_s(candidates) <= target_s)
    largest = int(fitting[-1]) + 1 if fitting.size else 0
    return max(largest, min(least_tokens, most_tokens))
