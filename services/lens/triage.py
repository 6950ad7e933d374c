"""Which prompts can still be on time, when not all can: as many as possible. Pure."""

from bisect import bisect_left
from collections.abc import Collection
from heapq import heappush, heappushpop
from operator import attrgetter
from typing import NamedTuple

from services.lens.sequence import Sequence


class Triage(NamedTuple):
    """Sequences whose prompts are not computed yet."""

    on_time: list[Sequence]
    """By what is due first."""
    relegated: list[Sequence]
    """That miss their target, or would make others miss theirs; in the order given."""


def triage(prefills: Collection[Sequence], *, starts_s: float, tokens_per_s: float) -> Triage:
    """Tell those apart that are worth hurrying from those that are not.

    By what is due first; whenever one would be late, the one that takes longest of those so far is given up. No other choice
    has fewer late jobs on one machine (Moore 1968, "An n job, one machine sequencing algorithm for minimizing the number of
    late jobs").

    Args:
        starts_s: when the first could begin.
        tokens_per_s: how fast prompts are computed, beside what else there is to do.
    """
    by_due = sorted(prefills, key=_DUE_S)
    past = bisect_left(by_due, starts_s, key=_DUE_S)
    given_up = set(by_due[:past])
    kept: list[tuple[float, int]] = []
    """Minus the time needed, and the place; a heap."""
    ends_s = starts_s
    for place in range(past, len(by_due)):
        sequence = by_due[place]
        due_s, needed_s = sequence.due_s, sequence.prefill_tokens_left / tokens_per_s
        if starts_s + needed_s > due_s:
            given_up.add(sequence)
        elif ends_s + needed_s <= due_s:
            ends_s += needed_s
            heappush(kept, (-needed_s, place))
        else:
            longest_s, dropped = heappushpop(kept, (-needed_s, place))
            ends_s += needed_s + longest_s
            given_up.add(by_due[dropped])
    if not given_up:
        return Triage(by_due, [])
    return Triage([s for s in by_due if s not in given_up], [s for s in prefills if s in given_up])


_DUE_S = attrgetter("due_s")
