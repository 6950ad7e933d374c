"""The search for the highest rate at which attainment stays at its target: doubling, then halving the gap. Pure.

The search is a generator: it yields a rate, is sent what was measured there, and returns what it found. So a live system and
a simulated one are searched alike.
"""

import math
from collections.abc import Generator, Sequence

import msgspec

from loadgen.student import Estimate, estimate

ROUNDING = 1e-9
"""Of a mean of fractions that is exactly the target."""
STEP = 2.0
"""While only one side is known, the rate goes by this factor."""


class Measured(msgspec.Struct, frozen=True):
    """What came of one rate."""

    attainments: tuple[float, ...]
    """Of its repeats."""
    spoiled: str | None = None
    """Why this says nothing of the system under load, if it does not."""


class Point(msgspec.Struct, frozen=True):
    """One rate of a search."""

    rate_per_s: float
    attainment: Estimate
    kept: bool
    """Whether the mean is at the target."""


class Goodput(msgspec.Struct, frozen=True, kw_only=True):
    """What a search found."""

    target: float
    rate_per_s: float | None
    """The highest rate that kept the target while none below it failed; None where none did."""
    fails_at_per_s: float | None
    """The lowest rate that did not; None where none did."""
    reason: str
    """Why the search ended."""
    points: tuple[Point, ...]
    """In the order in which they were measured."""

    @property
    def sure(self) -> bool:
        """Whether chance does not decide it: the 95 % intervals at both rates lie on their sides of the target."""
        at = {point.rate_per_s: point.attainment for point in self.points}
        if self.rate_per_s is None or self.fails_at_per_s is None:
            return False
        kept, failed = at[self.rate_per_s], at[self.fails_at_per_s]
        if kept.ci95 is None or failed.ci95 is None:
            return False
        return kept.mean - kept.ci95 >= self.target > failed.mean + failed.ci95

    @property
    def doubtful(self) -> bool:
        """Whether chance may decide it: there are rates on both sides of the target, but no sure ones."""
        return self.rate_per_s is not None and self.fails_at_per_s is not None and not self.sure


def search_goodput(
    start_per_s: float, *, lowest_per_s: float, highest_per_s: float, target: float, tolerance: float, most_rates: int
) -> Generator[float, Measured, Goodput]:
    """Yields the rates to measure; returns the goodput.

    Args:
        start_per_s: where it begins.
        lowest_per_s: no lower rate is tried.
        highest_per_s: no higher rate is tried.
        target: least mean attainment, a fraction.
        tolerance: it ends when the rates that kept and failed differ by no more than this fraction of the lower.
        most_rates: it ends after so many.
    """
    points: list[Point] = []

    def found(reason: str) -> Goodput:
        kept_per_s, fails_at_per_s = _bracket(points)
        return Goodput(
            target=target,
            rate_per_s=kept_per_s,
            fails_at_per_s=fails_at_per_s,
            reason=reason,
            points=tuple(points),
        )

    rate_per_s = min(max(start_per_s, lowest_per_s), highest_per_s)
    while True:
        measured = yield rate_per_s
        if measured.spoiled is not None:
            return found(f"at {rate_per_s:.4g} requests/s the measurement was spoiled: {measured.spoiled}")
        attainment = estimate(measured.attainments)
        points.append(Point(rate_per_s, attainment, attainment.mean >= target - ROUNDING))
        kept_per_s, fails_at_per_s = _bracket(points)
        if fails_at_per_s is None:
            if rate_per_s >= highest_per_s:
                return found("the highest rate that was allowed kept the target: goodput may be higher")
            next_per_s = min(STEP * rate_per_s, highest_per_s)
        elif kept_per_s is None:
            if fails_at_per_s <= lowest_per_s:
                return found("the lowest rate that was allowed missed the target")
            next_per_s = max(fails_at_per_s / STEP, lowest_per_s)
        elif fails_at_per_s <= kept_per_s * (1 + tolerance):
            return found(f"the rates that kept and missed the target are within {tolerance:.0%}")
        else:
            next_per_s = math.sqrt(kept_per_s * fails_at_per_s)
        if len(points) >= most_rates:
            return found(f"{most_rates} rates were measured, which was the limit")
        rate_per_s = next_per_s


def _bracket(points: Sequence[Point]) -> tuple[float | None, float | None]:
    """The highest rate that kept the target below all that failed, and the lowest that failed."""
    fails_at_per_s = min((point.rate_per_s for point in points if not point.kept), default=math.inf)
    kept = [point.rate_per_s for point in points if point.kept and point.rate_per_s < fails_at_per_s]
    return max(kept, default=None), None if fails_at_per_s == math.inf else fails_at_per_s
