"""Whose turn it is of those that cannot be on time. Pure."""

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from services.lens.plan import Queue
from services.lens.sequence import Sequence

PATIENCE_S = 30.0
"""After it should have had its first token, a prompt that waits is let in before all others."""
STALLED_S = 5.0
"""And so soon an answer that has begun, and has to be recomputed: somebody is reading it."""

_ARRIVAL_S, _PRIORITY = attrgetter("arrival_s"), attrgetter("priority")
_TENANT, _DRAWS = attrgetter("tenant"), attrgetter("draws")


def turns(relegated: list[Sequence], queue: Queue) -> Iterator[Sequence]:
    """Who is next of those that cannot be on time. Few of them get on in a step, so that they are not sorted before the first has.

    Those that have waited for too long go before all, and who came first of them, so that nobody waits for ever. Then who has begun to
    answer, of higher priority first, whose tenant had least, and who came first.
    """

    def turn(sequence: Sequence) -> tuple[bool, bool, int, float, float]:
        if is_forgotten(sequence, queue.starts_s):
            return False, False, 0, 0.0, sequence.arrival_s
        served_tokens = queue.served_tokens.get(sequence.tenant, 0.0)
        return True, not sequence.draws, -sequence.priority, served_tokens, sequence.arrival_s

    if not relegated:
        return
    are_equal = len(set(map(_PRIORITY, relegated))) == 1 and not any(map(_DRAWS, relegated))
    are_equal &= len(queue.served_tokens) <= 1 or len(set(map(_TENANT, relegated))) == 1
    key: Callable[[Sequence], Any] = _ARRIVAL_S if are_equal else turn
    first = min(relegated, key=key)
    yield first
    yield from (sequence for sequence in sorted(relegated, key=key) if sequence is not first)


def is_forgotten(relegated: Sequence, starts_s: float) -> bool:
    """Whether it has waited for so long that it is let in before all others."""
    if relegated.draws:
        return starts_s - relegated.runs_until_s > STALLED_S
    return starts_s - relegated.due_s > PATIENCE_S
