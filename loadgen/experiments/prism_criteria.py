"""What prism was to attain beside policies that react to load, and what was found. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadgen.experiments.criteria import ROUNDING, Claim, Criterion, Lead
from loadgen.experiments.prism_loads import CAPACITY, EASY_LINES, HARD_LINES, ONE, SEVERAL_LINES, Line
from loadgen.experiments.tables import OURS, attained_by
from loadgen.reliability import Reliability
from loadgen.simulate.rows import Row
from loadgen.simulate.run import ORACLE

ALLOWED_POINTS = 1.0
"""Behind the best policy that reacts, at any load."""
MOST_OF_MISSES = 0.5
"""Of the promises that it breaks, at capacity of the hard case."""

Attained = Mapping[str, float]
"""Of one load, by policy; means over seeds."""
Load = tuple[str, float]


class Missed(NamedTuple):
    """Shares of promises broken at a load."""

    where: str
    rival: str
    ours: float
    theirs: float


class FewMisses(NamedTuple):
    """No more promises were to be broken than such a part of those that the best policy that reacts breaks."""

    wanted: str
    most: float
    misses: Sequence[Missed]

    @property
    def verdict(self) -> str:
        """Whether it is met, or by how many points not, and where."""
        over = [(each.where, each.ours - self.most * each.theirs) for each in self.misses]
        missed = [f"{100 * points:.1f} ({where})" for where, points in over if points > ROUNDING]
        return f"missed by {', '.join(missed)}" if missed else "met"

    @property
    def found(self) -> str:
        """Each load's shares."""
        return "; ".join(
            f"{100 * each.ours:.1f} % against {100 * each.theirs:.1f} % of {each.rival} ({each.where})"
            for each in self.misses
        )


class Doubt(NamedTuple):
    """Chances that were given at a load."""

    where: str
    brier: float
    constant: float
    """The score of who always says the share that was kept, as if that had been known."""


class Telling(NamedTuple):
    """A chance that is given was to say more than the share that is kept anyhow does."""

    wanted: str
    doubts: Sequence[Doubt]

    @property
    def verdict(self) -> str:
        """Whether it does, or where not."""
        missed = [each.where for each in self.doubts if each.brier > each.constant + ROUNDING]
        return f"missed ({', '.join(missed)})" if missed else "met"

    @property
    def found(self) -> str:
        """Each load's scores."""
        return "; ".join(f"{each.brier:.3f} against {each.constant:.3f} ({each.where})" for each in self.doubts)


def claims(rows: Sequence[Row]) -> Sequence[Claim]:
    """Those that the rows say something of."""
    attained = attained_of(rows)
    hard, easy, several = (
        [line for line in lines if line.key in attained] for lines in (HARD_LINES, EASY_LINES, SEVERAL_LINES)
    )
    behind = f"never more than {ALLOWED_POINTS:g} point behind the best policy that reacts"
    leads = (
        Criterion(f"hard case: {behind}", -ALLOWED_POINTS, [_lead(line.key, attained[line.key]) for line in hard]),
        Criterion(f"other loads: {behind}", -ALLOWED_POINTS, [_lead(line.key, attained[line.key]) for line in easy]),
        Criterion(
            f"several routers: no more than {ALLOWED_POINTS:g} point behind one",
            -ALLOWED_POINTS,
            [_lead_over_one(line, attained) for line in several],
        ),
    )
    few = FewMisses(
        f"hard case, at capacity: at most {MOST_OF_MISSES:g} of the promises broken that the best policy that reacts breaks",
        MOST_OF_MISSES,
        [_missed(line.key, attained[line.key]) for line in hard if line.times_capacity == CAPACITY],
    )
    telling = Telling(
        "chances that say more than the share kept (Brier's score, less is better)",
        [
            _doubt(row, row.reliability)
            for row in rows
            if row.router_policy == OURS and row.reliability is not None and (row.workload, row.rate) in _keys(hard)
        ],
    )
    return [
        *(criterion for criterion in leads if criterion.leads),
        *((few,) if few.misses else ()),
        *((telling,) if telling.doubts else ()),
    ]


def attained_of(rows: Sequence[Row]) -> Mapping[Load, Attained]:
    """By load."""
    return attained_by(rows, lambda row: row.router_policy)


def best_reactive(attained: Attained) -> str:
    """The best of the policies that have no foresight."""
    return max((policy for policy in attained if policy not in (OURS, ORACLE)), key=lambda policy: attained[policy])


def told(load: Load) -> str:
    """A load by its name and rate."""
    name, rate_per_s = load
    return f"{name} {rate_per_s:g}"


def _keys(lines: Sequence[Line]) -> Sequence[Load]:
    return [line.key for line in lines]


def _lead(load: Load, attained: Attained) -> Lead:
    rival = best_reactive(attained)
    return Lead(told(load), rival, 100 * (attained[OURS] - attained[rival]), 100 * (1.0 - attained[rival]))


def _lead_over_one(line: Line, attained: Mapping[Load, Attained]) -> Lead:
    one = attained[line._replace(replicas=ONE).key][OURS]
    return Lead(told(line.key), "one router", 100 * (attained[line.key][OURS] - one), 100 * (1.0 - one))


def _missed(load: Load, attained: Attained) -> Missed:
    rival = best_reactive(attained)
    return Missed(told(load), rival, 1.0 - attained[OURS], 1.0 - attained[rival])


def _doubt(row: Row, of_chances: Reliability) -> Doubt:
    return Doubt(told((row.workload, row.rate)), of_chances.brier, of_chances.constant_brier)
