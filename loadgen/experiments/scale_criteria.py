"""How little the fleet's size, several routers, late telemetry and wrong predictions were to cost, and what was found. Pure."""

from collections.abc import Mapping, Sequence

from loadgen.experiments.criteria import Claim
from loadgen.experiments.paired import Paired, PairedCriterion
from loadgen.experiments.scale_loads import (
    FEW,
    MANY,
    MANY_S,
    MOST,
    ONE,
    ROUTING,
    SIZE,
    Point,
    Sweep,
    at_size,
)
from loadgen.experiments.scale_rows import ScaleRow
from loadgen.experiments.tables import OURS
from loadgen.student import estimate

ALLOWED_POINTS = 1.0
"""Behind whatever it is compared with."""

Rows = Mapping[str, Mapping[str, ScaleRow]]
"""By point and policy."""


def by_point(rows: Sequence[ScaleRow]) -> Rows:
    """The rows of each point, by policy."""
    found: dict[str, dict[str, ScaleRow]] = {}
    for row in rows:
        found.setdefault(row.workload, {})[row.policy] = row
    return found


def claims(rows: Rows, sweeps: Sequence[Sweep]) -> Sequence[Claim]:
    """Those that the rows say something of."""
    within = f"no more than {ALLOWED_POINTS:g} point behind"
    leads = [
        _ahead_of_best(where, of_point)
        for where, point in _places(sweeps)
        if len(of_point := rows.get(point.name, {})) > 1 and OURS in of_point
    ]
    all_of_them = (
        PairedCriterion(f"everywhere {within} the best policy that reacts", -ALLOWED_POINTS, leads),
        PairedCriterion(f"{MOST} routers {within} one", -ALLOWED_POINTS, _beside(rows, sweeps, ROUTING, MOST, ONE)),
        PairedCriterion(
            f"{MANY:,} engines {within} {FEW}",
            -ALLOWED_POINTS,
            _beside(rows, sweeps, SIZE, at_size(MANY, MANY_S), at_size(FEW, MANY_S)),
        ),
    )
    return [claim for claim in all_of_them if claim.pairs]


def beside(row: ScaleRow, other: ScaleRow, where: str, name: str) -> Paired:
    """A row against another, seed by seed."""
    differences = [one - two for one, two in zip(row.attained, other.attained, strict=True)]
    return Paired(where, f"{name}, {100 * other.attainment.mean:.1f}", estimate(differences))


def best_reactive(of_point: Mapping[str, ScaleRow]) -> ScaleRow:
    """The best of the policies that have no foresight."""
    return max((row for row in of_point.values() if row.policy != OURS), key=lambda row: row.attainment.mean)


def _places(sweeps: Sequence[Sweep]) -> Sequence[tuple[str, Point]]:
    """Each point once, with what it is called in the first of its sweeps."""
    named: dict[Point, str] = {}
    for sweep in sweeps:
        for value, point in sweep.points.items():
            named.setdefault(point, f"{sweep.title}: {value}")
    return [(where, point) for point, where in named.items()]


def _ahead_of_best(where: str, of_point: Mapping[str, ScaleRow]) -> Paired:
    rival = best_reactive(of_point)
    return beside(of_point[OURS], rival, where, rival.policy)


def _beside(rows: Rows, sweeps: Sequence[Sweep], title: str, value: str, other: str) -> Sequence[Paired]:
    """Ours at one point of a sweep against ours at another."""
    for sweep in sweeps:
        if sweep.title == title and {value, other} <= sweep.points.keys():
            there, others = (rows.get(sweep.points[each].name, {}).get(OURS) for each in (value, other))
            if there is not None and others is not None:
                return (beside(there, others, f"{title}: {value}", other),)
    return ()
