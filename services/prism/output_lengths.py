"""How long answers are: their distribution, learned online by model and client from answers that ended. Pure.

An answer that its limit cut says only that it would have been longer. So what is learned is, for each span of lengths, how many of
the answers that got so far ended there (the product-limit estimator: Kaplan & Meier 1958); and what too few got to is taken from
the next wider distribution (a prior on these shares: Susarla & Van Ryzin 1976): a client's from its model's, that from what
chats are like. Lengths are in tokens, the one that ends the answer included.
"""

import math
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LONGEST_TOKENS = 2**17
SPANS_A_DOUBLING = 6
MEMORY_ANSWERS = 1000
"""What an answer said counts 1/e after so many more of its model's, or client's."""
PRIOR_ANSWERS = 5.0
"""That the wider distribution counts for: clients differ about as much as one's answers do."""
MOST_KEPT = 4096
"""Models and clients that are remembered, the least lately learned from forgotten first; 2 KB each."""

TYPICAL_TOKENS = 130
TYPICAL_LONG_TOKENS = 430
"""Median and 0.9 quantile of chats' answers: their mean is 200 if lognormal."""

_DOUBLINGS = int(math.log2(LONGEST_TOKENS))
_EDGES = np.unique(np.rint(2.0 ** (np.arange(_DOUBLINGS * SPANS_A_DOUBLING + 1) / SPANS_A_DOUBLING)))
_EDGES = np.concatenate(([0.0], _EDGES))
"""A span holds the lengths above its lower edge, up to its upper one."""
_WIDTHS = np.diff(_EDGES)
_SPANS = len(_WIDTHS)
_NORMAL_QUANTILE_90 = 1.2816


class Lengths:
    """A distribution of lengths; within a span each is as likely as the others.

    Args:
        survival: the share of answers that are longer than each edge; the first is 1.
    """

    __slots__ = ("_beyond", "survival")

    def __init__(self, survival: Array) -> None:
        self.survival = survival
        upper, lower = survival[:-1], survival[1:]
        tokens = _WIDTHS * upper - (upper - lower) * (_WIDTHS - 1.0) / 2
        self._beyond = np.concatenate((np.cumsum(tokens[::-1])[::-1], [0.0]))
        """Expected tokens after each edge's, of any answer: summed from the far end, where they are smallest."""

    def expected(self, limit: int | None = None) -> float:
        """Tokens of an answer that may have no more than its limit."""
        return self.remaining(0, limit)

    def remaining(self, run: int, limit: int | None = None) -> float:
        """Tokens still to come of an answer that has run so many and has not ended; at least 1, if its limit leaves that."""
        most = LONGEST_TOKENS if limit is None else limit
        if run >= most:
            return 0.0
        lasting = self._longer(run)
        if lasting <= 0.0:
            return 1.0
        return min(max((self._after(run) - self._after(most)) / lasting, 1.0), float(most - run))

    def quantile(self, share: float) -> float:
        """The length that this share of the answers do not exceed."""
        place = int(np.searchsorted(1.0 - self.survival, share))
        if place == 0:
            return 0.0
        if place > _SPANS:
            return float(LONGEST_TOKENS)
        before, after = self.survival[place - 1], self.survival[place]
        part = (before - (1.0 - share)) / (before - after)
        return float(_EDGES[place - 1] + part * _WIDTHS[place - 1])

    def _longer(self, tokens: int) -> float:
        """The share of answers with more tokens than this."""
        return float(np.interp(tokens, _EDGES, self.survival))

    def _after(self, tokens: int) -> float:
        """Expected tokens after this many, of any answer."""
        if tokens >= LONGEST_TOKENS:
            return 0.0
        span = _span_of(tokens + 1)
        run = tokens - _EDGES[span]
        first, slope = self.survival[span], (self.survival[span] - self.survival[span + 1]) / _WIDTHS[span]
        return float(self._beyond[span] - (run * first - slope * run * (run - 1.0) / 2))


def _typical() -> Lengths:
    spread = math.log(TYPICAL_LONG_TOKENS / TYPICAL_TOKENS) / _NORMAL_QUANTILE_90
    units = [math.log(edge / TYPICAL_TOKENS) / spread for edge in _EDGES[1:].tolist()]
    return Lengths(np.array([1.0, *(math.erfc(unit / math.sqrt(2)) / 2 for unit in units)]))


def _span_of(length: float) -> int:
    """The span that holds a length, which is at least 1."""
    return min(int(np.searchsorted(_EDGES, length)) - 1, _SPANS - 1)


TYPICAL = _typical()
"""What chats' answers are like."""


class OutputLengths:
    """What one replica knows of answers."""

    def __init__(self) -> None:
        self._tallies: OrderedDict[tuple[str, str], _Tally] = OrderedDict()

    def learn(self, model: str, client: str, tokens: int, *, cut: bool) -> None:
        """An answer has ended.

        Args:
            client: empty where it is nobody's.
            tokens: that it had.
            cut: whether its limit ended it.
        """
        if tokens < 1:
            return
        for key in {(model, ""), (model, client)}:
            tally = self._tallies.setdefault(key, _Tally())
            tally.learn(tokens, cut=cut)
            self._tallies.move_to_end(key)
        while len(self._tallies) > MOST_KEPT:
            self._tallies.popitem(last=False)

    def of(self, model: str, client: str = "") -> Lengths:
        """What is known of this client's answers, which is what its model's are like while there are few."""
        known = TYPICAL
        for key in ((model, ""), (model, client)) if client else ((model, ""),):
            if key in self._tallies:
                known = self._tallies[key].posterior(known)
        return known


class _Tally:
    """By span, how many answers ended in it, and how many went on beyond it."""

    __slots__ = ("ended", "latest", "outlived")

    def __init__(self) -> None:
        self.ended = np.zeros(_SPANS)
        self.outlived = np.zeros(_SPANS)
        self.latest: tuple[Lengths, Lengths] | None = None
        """The prior and the posterior, as long as nothing more is learned."""

    def learn(self, tokens: int, *, cut: bool) -> None:
        self.latest = None
        self.ended *= 1.0 - 1.0 / MEMORY_ANSWERS
        self.outlived *= 1.0 - 1.0 / MEMORY_ANSWERS
        span = _span_of(tokens)
        self.outlived[:span] += 1.0
        if cut:
            # Of the span in which it was cut it has outlived that part.
            self.outlived[span] += min((tokens - _EDGES[span]) / _WIDTHS[span], 1.0)
        else:
            self.ended[span] += 1.0

    def posterior(self, prior: Lengths) -> Lengths:
        if self.latest is not None and self.latest[0] is prior:
            return self.latest[1]
        reached, left = prior.survival[:-1], prior.survival[1:]
        heard = self.ended + self.outlived
        lasting = (PRIOR_ANSWERS * left + self.outlived) / (PRIOR_ANSWERS * reached + heard)
        known = Lengths(np.concatenate(([1.0], np.cumprod(lasting))))
        self.latest = prior, known
        return known
