"""How answers came beside what was foreseen of them: by engine, a factor to correct predictions by, and a deviation. Pure.

What is learned is ln(actual ÷ raw prediction). A prediction that was corrected is divided by its correction first, the one that
applied when it was made: so nothing that is learned depends on what was learned before, and no correction can feed on itself.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.prism.compiled import compiled
from services.prism.promises import Promises

Array = NDArray[np.float64]

MEMORY_REQUESTS = 100
"""Of an engine: what a request said counts 1/e after so many more."""
MEMORY_ROUNDS = 300
"""An engine that is not asked is forgotten: 1/e is left of what was known when as many have ended as would be so many each, had
the engines had equal parts. A wrong factor cannot keep an engine from being tried again for ever."""
FLEET_REQUESTS = 10.0
"""That what is known of all engines counts for in an engine's mean."""
PRIOR_REQUESTS = 10.0
"""That the first presumption counts for among all engines."""
FIRST_DEVIATION = 0.3
"""Presumed before any request has ended."""
LEAST_DEVIATION = 0.02
MOST_RATIO = 4.0
"""A request says no more than that it took so many times what was foreseen, or that part of it; nor can a factor."""
LEAST_TIME_S = 1e-3
"""Times are taken as no shorter: of less, the network has the greater part."""
MOST_ENGINES = 4096
"""That are remembered; the least lately heard of is forgotten for a newcomer."""

_FLEET = 0
"""The row of all engines together."""
_TIMES = 2
"""TTFT and TPOT, the columns."""
_MOST_RESIDUAL = math.log(MOST_RATIO)


class Errors(NamedTuple):
    """Of the predictions for one engine: ln(actual ÷ raw) is about ln(factor), with a standard deviation."""

    ttft_factor: float = 1.0
    ttft_deviation: float = FIRST_DEVIATION
    tpot_factor: float = 1.0
    tpot_deviation: float = FIRST_DEVIATION


UNCORRECTED = Errors()


class EngineErrors(NamedTuple):
    """As `Errors`, with an element an engine."""

    ttft_factor: Array
    ttft_deviation: Array
    tpot_factor: Array
    tpot_deviation: Array


class Calibration:
    """Of one replica, by the answers that it has passed on.

    Attributes:
        promises: how those that were made came true.
    """

    def __init__(self) -> None:
        self.promises = Promises()
        self._rows: dict[str, int] = {}
        """By engine, the least lately heard of first."""
        self._weights = np.zeros((1, _TIMES))
        self._means = np.zeros((1, _TIMES))
        self._squares = np.zeros((1, _TIMES))
        """Mean squares about the means."""
        self._heard_at = np.zeros(1)
        self._heard = 0
        self._asked: tuple[str, ...] | None = None
        self._asked_rows: NDArray[np.intp]

    def note(
        self,
        engine: str,
        predicted_ttft_s: float | None,
        ttft_s: float | None,
        predicted_tpot_s: float | None,
        tpot_s: float | None,
        correction: Errors = UNCORRECTED,
    ) -> None:
        """A request has ended.

        Args:
            predicted_ttft_s: as it was told; None, as of the others, where there is none.
            ttft_s: from the decision, as the prediction.
            correction: whose factors the predictions were multiplied by when they were made.
        """
        ratios = (
            _residual(ttft_s, predicted_ttft_s, correction.ttft_factor),
            _residual(tpot_s, predicted_tpot_s, correction.tpot_factor),
        )
        if ratios == (None, None):
            return
        row = self._row_of(engine)
        self._heard += 1
        self._weights[row] *= _kept(self._heard - self._heard_at[row], max(len(self._rows), 1))
        self._heard_at[row] = self._heard
        for time, residual in enumerate(ratios):
            if residual is not None:
                self._learn(row, time, residual, MEMORY_REQUESTS)
                self._learn(_FLEET, time, residual, MEMORY_REQUESTS * len(self._rows))

    def of(self, engine: str) -> Errors:
        """What is known of the predictions for an engine."""
        return Errors(*(values.item() for values in self.of_engines((engine,))))

    def of_engines(self, engines: tuple[str, ...]) -> EngineErrors:
        """The same of many."""
        rows = self._rows_asked(engines)
        errors = np.empty((len(EngineErrors._fields), len(rows)))
        known = (self._weights, self._means, self._squares, self._heard_at)
        _look_up(rows, *known, self._heard, max(len(self._rows), 1), errors)
        return EngineErrors(*errors)

    def _rows_asked(self, engines: tuple[str, ...]) -> NDArray[np.intp]:
        """Found once for as long as the same are asked for, which is at every request."""
        if engines is not self._asked:
            self._asked = engines
            self._asked_rows = np.array([self._rows.get(engine, _FLEET) for engine in engines], np.intp)
        return self._asked_rows

    def _learn(self, row: int, time: int, residual: float, memory_requests: float) -> None:
        place = row, time
        weight = self._weights[place] * (1.0 - 1.0 / memory_requests) + 1.0
        off = residual - self._means[place]
        mean = self._means[place] + off / weight
        self._squares[place] += (off * (residual - mean) - self._squares[place]) / weight
        self._weights[place], self._means[place] = weight, mean

    def _row_of(self, engine: str) -> int:
        row = self._rows.pop(engine, None)
        if row is None:
            row = self._new_row()
        self._rows[engine] = row
        return row

    def _new_row(self) -> int:
        self._asked = None
        if len(self._rows) >= MOST_ENGINES:
            row = self._rows.pop(next(iter(self._rows)))
            self._weights[row] = self._means[row] = self._squares[row] = 0.0
            return row
        row = len(self._rows) + 1
        if row == len(self._weights):
            grown = np.zeros((row, _TIMES))
            self._weights, self._means, self._squares = (
                np.concatenate((values, grown)) for values in (self._weights, self._means, self._squares)
            )
            self._heard_at = np.concatenate((self._heard_at, np.zeros(row)))
        return row


def _residual(actual_s: float | None, predicted_s: float | None, factor: float) -> float | None:
    if actual_s is None or predicted_s is None:
        return None
    residual = math.log(max(actual_s, LEAST_TIME_S) / max(predicted_s / factor, LEAST_TIME_S))
    return min(max(residual, -_MOST_RESIDUAL), _MOST_RESIDUAL)


@compiled
def _look_up(
    rows: NDArray[np.intp],
    weights: Array,
    means: Array,
    squares: Array,
    heard_at: Array,
    heard: int,
    engines: int,
    errors: Array,
) -> None:
    """Fill in `errors`, a column for each of the rows asked for, in the order of `EngineErrors`."""
    for time in range(_TIMES):
        fleet = weights[_FLEET, time], means[_FLEET, time], squares[_FLEET, time]
        fleet_mean, fleet_square = _blended(*fleet, PRIOR_REQUESTS, 0.0, FIRST_DEVIATION**2)
        for place in range(len(rows)):
            row = rows[place]
            # One that is not known has the fleet's row: what that is blended with is itself, or the presumption still.
            weight = 0.0 if row == _FLEET else weights[row, time] * _kept(heard - heard_at[row], engines)
            mean, square = _blended(
                weight, means[row, time], squares[row, time], FLEET_REQUESTS, fleet_mean, fleet_square
            )
            errors[2 * time, place] = math.exp(mean)
            errors[2 * time + 1, place] = max(math.sqrt(square), LEAST_DEVIATION)


@compiled
def _kept(requests: float, engines: int) -> float:
    """What is left of what an engine's row says after so many requests in the fleet."""
    return math.exp(-requests / engines / MEMORY_ROUNDS)


@compiled
def _blended(
    weight: float, mean: float, square: float, other_weight: float, other_mean: float, other_square: float
) -> tuple[float, float]:
    """Mean, and mean square about it, of two mixed."""
    share = weight / (weight + other_weight)
    blended = share * mean + (1.0 - share) * other_mean
    own = square + (mean - blended) ** 2
    others = other_square + (other_mean - blended) ** 2
    return blended, share * own + (1.0 - share) * others
