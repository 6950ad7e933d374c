"""Requests on their way to an engine, that its state does not show yet. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from shared.engine_state import DUE_EDGES_S, DUE_INTERVALS

_NONE = (0,) * DUE_INTERVALS


def interval_of(due_in_s: float) -> int:
    """In which of the intervals of `DUE_EDGES_S`, from 0, something is due."""
    return bisect_left(DUE_EDGES_S, due_in_s)


class Pending(NamedTuple):
    """Counts by when a first token was due as the request was sent, in the intervals of `DUE_EDGES_S`."""

    requests_by_due: tuple[int, ...] = _NONE
    prompt_tokens_by_due: tuple[int, ...] = _NONE

    @classmethod
    def of_totals(cls, totals: Sequence[int]) -> "Pending":
        """From both counts in one row."""
        return cls(tuple(totals[:DUE_INTERVALS]), tuple(totals[DUE_INTERVALS:]))

    @classmethod
    def of(cls, requests: Iterable[tuple[int, int]]) -> "Pending":
        """Of requests by interval and prompt tokens."""
        counts, tokens = [0] * DUE_INTERVALS, [0] * DUE_INTERVALS
        for interval, prompt_tokens in requests:
            counts[interval] += 1
            tokens[interval] += prompt_tokens
        return cls(tuple(counts), tuple(tokens))

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(self.requests_by_due)

    @property
    def prompt_tokens(self) -> int:
        """Of all of them."""
        return sum(self.prompt_tokens_by_due)

    def plus(self, other: "Pending") -> "Pending":
        """Those of both."""
        return Pending(
            *(tuple([a + b for a, b in zip(*counts, strict=True)]) for counts in zip(self, other, strict=True))
        )

    def minus(self, other: "Pending") -> "Pending":
        """Without those of the other, as far as they are there."""
        return Pending(
            *(tuple([max(a - b, 0) for a, b in zip(*counts, strict=True)]) for counts in zip(self, other, strict=True))
        )

    def at_most(self, other: "Pending") -> "Pending":
        """No more of each than the other has."""
        return Pending(*(tuple(map(min, *counts)) for counts in zip(self, other, strict=True)))


NOTHING = Pending()
