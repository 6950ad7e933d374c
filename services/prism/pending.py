"""Requests on their way to an engine, that its state does not show yet. Pure."""

import operator
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.engine_state import DUE_EDGES_S, DUE_INTERVALS

_NONE = (0,) * DUE_INTERVALS


def interval_of(due_in_s: float) -> int:
    """In which of the intervals of `DUE_EDGES_S`, from 0, something is due."""
    return bisect_left(DUE_EDGES_S, due_in_s)


class Pending(msgspec.Struct, frozen=True, dict=True):
    """Counts by when a first token was due as the request was sent, in the intervals of `DUE_EDGES_S`."""

    requests_by_due: tuple[int, ...] = _NONE
    prompt_tokens_by_due: tuple[int, ...] = _NONE

    @cached_property
    def requests(self) -> int:
        """All of them."""
        return sum(self.requests_by_due)

    @cached_property
    def prompt_tokens(self) -> int:
        """Of all of them."""
        return sum(self.prompt_tokens_by_due)

    @cached_property
    def as_array(self) -> NDArray[np.float64]:
        """Requests and prompt tokens, a row each."""
        return np.array((self.requests_by_due, self.prompt_tokens_by_due), np.float64)

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

    def plus(self, other: "Pending") -> "Pending":
        """Those of both."""
        return self._with(operator.add, other)

    def minus(self, other: "Pending") -> "Pending":
        """Without those of the other, as far as they are there."""
        return self._with(lambda a, b: max(a - b, 0), other)

    def at_most(self, other: "Pending") -> "Pending":
        """No more of each than the other has."""
        return self._with(min, other)

    def _with(self, operation: Callable[[int, int], int], other: "Pending") -> "Pending":
        return Pending(
            tuple(map(operation, self.requests_by_due, other.requests_by_due)),
            tuple(map(operation, self.prompt_tokens_by_due, other.prompt_tokens_by_due)),
        )


NOTHING = Pending()
