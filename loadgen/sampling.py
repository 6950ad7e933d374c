"""Which requests of a trace a run sends. Pure."""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from loadgen.traces import TraceRequest


class Sample(StrEnum):
    """How some of a trace's requests are chosen."""

    FIRST = "first"
    """The first ones."""
    WINDOW = "window"
    """A stretch that begins anywhere: bursts stay whole."""
    THIN = "thin"
    """Each with the same chance, in the trace's order: a slower copy of the whole trace."""
    DRAW = "draw"
    """Each at random, with replacement: lengths without their order."""


def within_limits(
    trace: Sequence[TraceRequest], most_prompt_tokens: int | None, most_output_tokens: int | None
) -> tuple[TraceRequest, ...]:
    """The requests that are not longer; None is no limit."""
    return tuple(
        request
        for request in trace
        if (most_prompt_tokens is None or request.prompt_tokens <= most_prompt_tokens)
        and (most_output_tokens is None or request.output_tokens <= most_output_tokens)
    )


def sampled(
    trace: Sequence[TraceRequest], count: int, how: Sample, rng: np.random.Generator
) -> tuple[TraceRequest, ...]:
    """`count` requests, or all of the trace where it has no more; only `DRAW` gives more than the trace has."""
    if how is Sample.DRAW:
        return tuple(trace[index] for index in rng.integers(0, len(trace), count).tolist())
    count = min(count, len(trace))
    if how is Sample.THIN:
        return tuple(trace[index] for index in np.sort(rng.permutation(len(trace))[:count]).tolist())
    first = int(rng.integers(0, len(trace) - count, endpoint=True)) if how is Sample.WINDOW else 0
    return tuple(trace[first : first + count])
