"""What both layers were to attain on real processes, and what was found. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from loadgen.experiments.criteria import ROUNDING, Claim
from loadgen.experiments.live_telling import attained
from loadgen.experiments.prism_criteria import Doubt, Telling
from loadgen.experiments.real_parts import BOTH, CAPACITY, NEITHER, REACTIVE
from loadgen.experiments.real_rows import RealRow, e2e_ratio, paired, points_ahead, runs_of
from loadgen.reliability import pooled
from loadgen.student import Estimate

WANTED_GAIN_POINTS = 43.0
GAIN_WHERE_NEITHER = (0.3, 0.5)
"""Attains so much."""
MOST_E2E_RATIO = 0.5
NOT_TESTED = "not tested"


class Found(NamedTuple):
    """A difference or a ratio of two systems at a load, over the repeats."""

    where: str
    value: Estimate

    def told(self, digits: int, *, signed: bool) -> str:
        """With its interval, if there are several repeats."""
        interval = "" if self.value.ci95 is None else f" ± {self.value.ci95:.{digits}f}"
        return f"{self.value.mean:{'+' if signed else ''}.{digits}f}{interval} ({self.where})"


class Bound(NamedTuple):
    """Each was to be at least, or at most, so much."""

    wanted: str
    bound: float
    of: Sequence[Found]
    at_least: bool
    digits: int
    otherwise: str = ""
    """What is to be said where there is none."""

    @property
    def verdict(self) -> str:
        """Whether all means are, or by how much not, and where."""
        if not self.of:
            return NOT_TESTED
        sign = 1.0 if self.at_least else -1.0
        short = [(each.where, sign * (self.bound - each.value.mean)) for each in self.of]
        missed = [f"{by:.{self.digits}f} ({where})" for where, by in short if by > ROUNDING]
        return f"missed by {', '.join(missed)}" if missed else "met"

    @property
    def found(self) -> str:
        """All of them."""
        told = [each.told(self.digits, signed=self.at_least) for each in self.of]
        return "; ".join(told) if told else self.otherwise


class Load(NamedTuple):
    """All runs on a kind of fleet at a rate."""

    where: str
    times_capacity: float
    rows: Sequence[RealRow]

    def of(self, layers: str) -> Sequence[RealRow]:
        """A system's."""
        return runs_of(self.rows, layers, self.times_capacity)


def loads_of(rows: Sequence[RealRow]) -> Sequence[Load]:
    """In order of the fleets, then of rates."""
    keys = dict.fromkeys((row.system, row.times_capacity) for row in rows)
    fleets = list(dict.fromkeys(row.system for row in rows))
    ordered = sorted(keys, key=lambda key: (fleets.index(key[0]), key[1]))
    return [
        Load(f"{fleet}, {times:g} × capacity", times, [row for row in rows if row.system == fleet])
        for fleet, times in ordered
    ]


def claims(rows: Sequence[RealRow]) -> Sequence[Claim]:
    """Those that the rows say something of."""
    loads = loads_of(rows)
    low, high = GAIN_WHERE_NEITHER
    middling = [load for load in loads if load.of(NEITHER) and low <= attained(load.of(NEITHER)) <= high]
    neither = ", ".join(
        f"{100 * attained(load.of(NEITHER)):.0f} % ({load.where})" for load in loads if load.of(NEITHER)
    )
    at_capacity = [load for load in loads if load.times_capacity == CAPACITY]
    bounds = (
        Bound(
            f"both layers over neither, where that attains {100 * low:.0f} to {100 * high:.0f} %: "
            f"at least {WANTED_GAIN_POINTS:g} points",
            WANTED_GAIN_POINTS,
            list(_ahead(middling, NEITHER)),
            at_least=True,
            digits=1,
            otherwise=f"neither attains {neither}",
        ),
        Bound(
            "never behind the reactive router over lens, points",
            0.0,
            list(_ahead(loads, REACTIVE)),
            at_least=True,
            digits=1,
        ),
        Bound(
            f"E2E p50 at capacity at most {MOST_E2E_RATIO:g} times that of neither",
            MOST_E2E_RATIO,
            list(_ratios(at_capacity)),
            at_least=False,
            digits=2,
        ),
    )
    telling = Telling("chances that say more than the share kept (Brier's score, less is better)", list(_doubts(loads)))
    return [*(each for each in bounds if each.of or each.otherwise), *((telling,) if telling.doubts else ())]


def _ahead(loads: Sequence[Load], rival: str) -> Iterator[Found]:
    for load in loads:
        if (points := paired(load.of(BOTH), load.of(rival), points_ahead)) is not None:
            yield Found(load.where, points)


def _ratios(loads: Sequence[Load]) -> Iterator[Found]:
    for load in loads:
        if (ratio := paired(load.of(BOTH), load.of(NEITHER), e2e_ratio)) is not None:
            yield Found(load.where, ratio)


def _doubts(loads: Sequence[Load]) -> Iterator[Doubt]:
    for load in loads:
        chances = pooled([row.reliability for row in load.of(BOTH) if row.reliability is not None])
        if chances is not None:
            yield Doubt(load.where, chances.brier, chances.constant_brier)
