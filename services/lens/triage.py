"""Which prompts can still be on time, when not all can be: as many as possible. Pure."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Mapping
from heapq import heappop, heappush
from itertools import accumulate
from operator import attrgetter, le
from typing import NamedTuple

from services.lens.sequence import Sequence


class Triage(NamedTuple):
    """Sequences whose prompts are not computed yet."""

    on_time: list[Sequence]
    """Of higher priority first, then by what is due first."""
    relegated: list[Sequence]
    """That miss their target; and behind them those that would make others miss theirs, if there are any."""


def triage(
    prefills: Collection[Sequence], *, starts_s: float, tokens_per_s: float, served_tokens: Mapping[str, float]
) -> Triage:
    """Tell those apart that are worth hurrying from those that are not.

    By what is due first; whenever one would be late, the one that takes longest of those so far is given up. No other choice
    has fewer late jobs on one machine (Moore 1968, "An n job, one machine sequencing algorithm for minimizing the number of
    late jobs"). Of several tenants the one gives up that would come to have had most; what is of lower priority has only the
    time that is left.

    Args:
        starts_s: when the first could begin.
        tokens_per_s: how fast prompts are computed, beside what else there is to do.
        served_tokens: that tenants have been served before.
    """
    by_due = sorted(prefills, key=_DUE_S)
    past = bisect_left(by_due, starts_s, key=_DUE_S)
    late, coming = by_due[:past], by_due[past:]
    priorities = set(map(_PRIORITY, coming))
    if len(priorities) <= 1:
        return _triage_equals(late, coming, starts_s, tokens_per_s, served_tokens)
    on_time: list[Sequence] = []
    for priority in sorted(priorities, reverse=True):
        equals = [s for s in coming if s.priority == priority]
        kept, late = _triage_equals(late, equals, starts_s, tokens_per_s, served_tokens)
        on_time += kept
        starts_s += sum(map(_TOKENS_LEFT, kept)) / tokens_per_s
    return Triage(on_time, late)


def _triage_equals(
    late: list[Sequence],
    by_due: list[Sequence],
    starts_s: float,
    tokens_per_s: float,
    served_tokens: Mapping[str, float],
) -> Triage:
    """Of one priority; what is given up comes behind those that are `late`."""
    needed_tokens = list(map(_TOKENS_LEFT, by_due))
    room_tokens = [(due_s - starts_s) * tokens_per_s for due_s in map(_DUE_S, by_due)]
    if all(map(le, accumulate(needed_tokens), room_tokens)):
        return Triage(by_due, late)
    given_up: set[Sequence] = set()
    kept: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    """By tenant: minus the tokens needed, and the place; heaps."""
    ahead_tokens = 0
    for place, (needed, room) in enumerate(zip(needed_tokens, room_tokens, strict=True)):
        if needed > room:
            given_up.add(by_due[place])
            continue
        heappush(kept[by_due[place].tenant], (-needed, place))
        ahead_tokens += needed
        while ahead_tokens > room:
            most = _who_would_have_had_most(kept, served_tokens)
            tokens, dropped = heappop(kept[most])
            given_up.add(by_due[dropped])
            ahead_tokens += tokens
            if not kept[most]:
                del kept[most]
    return Triage([s for s in by_due if s not in given_up], [*late, *(s for s in by_due if s in given_up)])


def _who_would_have_had_most(kept: Mapping[str, list[tuple[int, int]]], served_tokens: Mapping[str, float]) -> str:
    """The tenant that was served most if it gets all that is kept for it."""
    if len(kept) == 1:
        return next(iter(kept))
    return max(kept, key=lambda tenant: served_tokens.get(tenant, 0.0) - sum(tokens for tokens, _ in kept[tenant]))


_DUE_S, _TOKENS_LEFT, _PRIORITY = attrgetter("due_s"), attrgetter("prefill_tokens_left"), attrgetter("priority")
