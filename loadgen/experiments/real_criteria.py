"""What both layers were to attain on real processes, and what was found. Pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from loadgen.experiments.criteria import Claim
from loadgen.experiments.goals import POINTS, TIMES, Goal
from loadgen.experiments.live_telling import attained
from loadgen.experiments.prism_criteria import Doubt, Telling
from loadgen.experiments.real_parts import BOTH, CAPACITY, NEITHER, REACTIVE
from loadgen.experiments.real_rows import RealRow, e2e_ratio, paired, points_ahead, runs_of
from loadgen.reliability import pooled

OVER_NEITHER = 43.0
"""Points …"""
NEITHER_LEAST, NEITHER_MOST = 0.3, 0.5
"""… where neither attains so much."""
E2E_TIMES = 0.5


class Untested(NamedTuple):
    """What was to be reached, where no load could tell."""

    wanted: str
    found: str
    verdict: str = "not tested"


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
    telling = Telling("chances that say more than the share kept (Brier's score, less is better)", list(_doubts(loads)))
    return [
        *_over_neither(loads),
        *_never_behind(loads),
        *_e2e([load for load in loads if load.times_capacity == CAPACITY]),
        *((telling,) if telling.doubts else ()),
    ]


def _over_neither(loads: Sequence[Load]) -> Iterator[Claim]:
    wanted = f"neither → both: {OVER_NEITHER:+g} points, where neither has {100 * NEITHER_LEAST:.0f} to {100 * NEITHER_MOST:.0f} %"
    of_neither = [(load, attained(load.of(NEITHER))) for load in loads if load.of(NEITHER)]
    struggling = [load for load, share in of_neither if NEITHER_LEAST <= share <= NEITHER_MOST]
    for load in struggling:
        if (points := paired(load.of(BOTH), load.of(NEITHER), points_ahead)) is not None:
            yield Goal(f"{wanted}; {load.where}", OVER_NEITHER, points, POINTS)
    if of_neither and not struggling:
        shares = ", ".join(f"{100 * share:.0f} % ({load.where})" for load, share in of_neither)
        yield Untested(wanted, f"neither has {shares}")


def _never_behind(loads: Sequence[Load]) -> Iterator[Goal]:
    for load in loads:
        if (points := paired(load.of(BOTH), load.of(REACTIVE), points_ahead)) is not None:
            yield Goal(f"never behind the reactive router over lens; {load.where}", 0.0, points, POINTS)


def _e2e(loads: Sequence[Load]) -> Iterator[Goal]:
    for load in loads:
        if (ratio := paired(load.of(BOTH), load.of(NEITHER), e2e_ratio)) is not None:
            wanted = f"median E2E time at most {E2E_TIMES:g} of neither's; {load.where}"
            yield Goal(wanted, E2E_TIMES, ratio, TIMES, at_most=True)


def _doubts(loads: Sequence[Load]) -> Iterator[Doubt]:
    for load in loads:
        chances = pooled([row.reliability for row in load.of(BOTH) if row.reliability is not None])
        if chances is not None:
            yield Doubt(load.where, chances.brier, chances.constant_brier)
