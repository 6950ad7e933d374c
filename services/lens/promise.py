"""What the answers that run demand of the next step. Pure."""

from collections.abc import Collection
from operator import add, attrgetter
from typing import NamedTuple

from services.lens.sequence import Sequence

MOST_GAP_PACES = 4.0
"""However far ahead an answer is, no gap between two of its tokens is longer than so many TPOT targets."""
CATCH_UP = 0.8
"""Of its TPOT target is what a step may take that carries an answer which is behind and can still catch up."""

_DUE_S, _PACE_S = attrgetter("due_s"), attrgetter("pace_s")


class Promise(NamedTuple):
    """What the answers that run demand of the next step."""

    kept: list[Sequence]
    """That can keep their targets."""
    limit_s: float
    """So long may the step take."""
    pace_s: float
    """And so long steps on average."""


def promise_of(decodes: list[Sequence], starts_s: float, decode_s: float, *, are_lost: bool) -> Promise:
    """Of at least one answer; `decode_s` is what a step of nothing else takes."""
    ends_s = starts_s + decode_s
    pace_s = min(map(_PACE_S, decodes))
    # However soon somebody was promised a token, no step is shorter than one that does nothing else.
    cap_s = MOST_GAP_PACES * max(pace_s, decode_s)
    if are_lost:
        return Promise([], cap_s, cap_s)
    limit_s = cap_s
    on_time = [s for s in decodes if s.due_s >= ends_s]
    if on_time:
        limit_s = min(limit_s, _nobody_late_s(on_time, decode_s) - starts_s)
    if len(on_time) == len(decodes):
        return Promise(decodes, limit_s, pace_s)
    behind = [s for s in decodes if s.due_s < ends_s]
    # Lost is who is behind by more than it can catch up with in steps that do nothing else.
    lost = {s for s in behind if ends_s - s.due_s > (s.max_output_tokens - s.draws) * (s.pace_s - decode_s)}
    kept = decodes
    if lost:
        behind = [s for s in behind if s not in lost]
        kept = [*on_time, *behind]
        pace_s = min(map(_PACE_S, kept), default=cap_s)
    for sequence in behind:
        least_s = CATCH_UP * sequence.pace_s
        if limit_s > least_s:
            limit_s = max(min(limit_s, _nobody_late_s((sequence,), decode_s) - starts_s), least_s)
    return Promise(kept, limit_s, pace_s)


def _nobody_late_s(answers: Collection[Sequence], decode_s: float) -> float:
    """When a step must be over for all to be on time, in the next step too if that takes them longer than their pace."""
    due_s: float = min(map(_DUE_S, answers))
    next_due_s: float = min(map(add, map(_DUE_S, answers), map(_PACE_S, answers)))
    return min(due_s, next_due_s - decode_s)
