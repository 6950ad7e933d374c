"""Which promises cost more others than they are: answers that must come so fast that their steps leave prompts no time. Pure.

Moore and Hodgson's rule (`triage`) gives up prompts, at the speed at which they are computed. How fast that is depends on the answers
beside them: no step may take longer than the tightest of them allows, and a short step spends most of its time on reading the weights
and the cache. With end-to-end targets paces differ from answer to answer, so that one long answer can keep a hundred prompts waiting.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from services.lens.sequence import Sequence
from services.lens.triage import Triage, triage

MOST_PACES = 8
"""Are tried at most, spread over those there are."""
AS_TIGHT = 1.02
"""Times the tightest pace: what is less apart from it gains nothing."""


class GivenUp(NamedTuple):
    """What is no longer pursued."""

    answers: frozenset[Sequence]
    prompts: Triage
    """Which can be on time then; those that would be answered as tightly are relegated too."""


def give_up_tightest(
    answers: Collection[Sequence],
    prompts: Collection[Sequence],
    *,
    kept: int,
    tokens_per_s: Callable[[float], float],
    starts_s: float,
    served_tokens: Mapping[str, float],
) -> GivenUp | None:
    """The tightest answers, as many as gain most, that keep more prompts from being on time than they are themselves; None where none do.

    Args:
        answers: whose targets can still be kept; at least one.
        prompts: not computed yet.
        kept: how many of them can be on time if no answer is given up.
        tokens_per_s: how fast prompts are computed where steps take so many seconds.
        starts_s, served_tokens: as `triage` has them.
    """
    tight_s = AS_TIGHT * min(map(_PACE_S, answers))
    if max(chain(map(_PACE_S, answers), map(_PACE_S, prompts))) <= tight_s:
        return None  # nobody would be looser
    if len(set(map(_PRIORITY, (*answers, *prompts)))) > 1:
        return None  # who goes first is not weighed against how many come later
    by_pace = sorted(answers, key=_PACE_S)
    paces_s = list(map(_PACE_S, by_pace))
    late = [s for s in prompts if s.due_s <= starts_s]
    coming = [s for s in prompts if s.due_s > starts_s]
    best, most_gained = None, 0
    for pace_s in _looser({*paces_s, *map(_PACE_S, coming)}, tight_s):
        cost = bisect_left(paces_s, pace_s)
        worthwhile = [s for s in coming if s.pace_s >= pace_s]
        found = triage(worthwhile, starts_s=starts_s, tokens_per_s=tokens_per_s(pace_s), served_tokens=served_tokens)
        gained = len(found.on_time) - kept - cost
        if gained > most_gained:
            tight = [s for s in coming if s.pace_s < pace_s]
            best = GivenUp(frozenset(by_pace[:cost]), Triage(found.on_time, [*late, *tight, *found.relegated]))
            most_gained = gained
    return best


def _looser(paces_s: Collection[float], tightest_s: float) -> list[float]:
    """Those that are looser; not too many."""
    looser = sorted(pace_s for pace_s in paces_s if pace_s > tightest_s)
    if len(looser) <= MOST_PACES:
        return looser
    return [looser[place * (len(looser) - 1) // (MOST_PACES - 1)] for place in range(MOST_PACES)]


_PACE_S, _PRIORITY = attrgetter("pace_s"), attrgetter("priority")
