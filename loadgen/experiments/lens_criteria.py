"""What lens was to attain beside fixed budgets, and what was found. Pure."""

import math
from collections.abc import Mapping, Sequence

from loadgen.experiments.criteria import Criterion, Lead
from loadgen.experiments.lens_loads import AVERAGED, CAPACITY, MIXED, OVER, SHIFT, SINGLE_CLASS, Line
from loadgen.experiments.tables import OURS, PLAIN, RELEGATING, attained_by, best_of, is_fixed, short
from loadgen.simulate.rows import Row

Attained = Mapping[str, float]
"""Of one load, by planner; means over seeds."""


def criteria(attained: Mapping[tuple[str, float], Attained], lines: Sequence[Line]) -> Sequence[Criterion]:
    """Those that the loads say something of."""
    over = [line for line in lines if line.times_capacity == OVER]
    single = [line for line in lines if line.workload in SINGLE_CLASS]
    shifts = [line for line in lines if line.workload == SHIFT]
    mixed = [line for line in lines if line.workload == MIXED and line.times_capacity == CAPACITY]
    averages = [_average_lead(times, averages) for times, averages in averages_of(attained, lines).items()]

    def leads(of_lines: Sequence[Line], kind: str) -> Sequence[Lead]:
        return [_lead(line, attained[line.key], kind) for line in of_lines]

    all_of_them = (
        Criterion(
            "30 points over the best fixed budget without relegation, at 1.2 times capacity", 30.0, leads(over, PLAIN)
        ),
        Criterion(
            "within 1 point of the best relegating budget of each load of a single class",
            -1.0,
            leads(single, RELEGATING),
        ),
        Criterion(
            "ahead of any one relegating budget averaged over workloads, and where the mix shifts in mid-run",
            0.0,
            [*averages, *leads(shifts, RELEGATING)],
        ),
        Criterion(
            "20 points over the best relegating budget on mixed classes at capacity", 20.0, leads(mixed, RELEGATING)
        ),
    )
    return [criterion for criterion in all_of_them if criterion.leads]


def attained_of(rows: Sequence[Row]) -> Mapping[tuple[str, float], Attained]:
    """By load."""
    return attained_by(rows, lambda row: row.engine_policy)


def averages_of(attained: Mapping[tuple[str, float], Attained], lines: Sequence[Line]) -> Mapping[float, Attained]:
    """Of workloads on one hardware, by the rate in their capacities."""
    return {
        times: _average([attained[line.key] for line in lines if line in _averaged(times)])
        for times in dict.fromkeys(line.times_capacity for line in lines)
        if all(line in lines for line in _averaged(times))
    }


def _averaged(times_capacity: float) -> Sequence[Line]:
    return [Line(workload, times_capacity) for workload in AVERAGED]


def _average(of_loads: Sequence[Attained]) -> Attained:
    planners = [planner for planner in of_loads[0] if all(planner in of_load for of_load in of_loads)]
    return {planner: math.fsum(of_load[planner] for of_load in of_loads) / len(of_loads) for planner in planners}


def _lead(line: Line, attained: Attained, kind: str) -> Lead:
    return _lead_of(f"{line.workload.name} {line.rate_per_s:g}", attained, kind)


def _average_lead(times_capacity: float, averages: Attained) -> Lead:
    return _lead_of(f"average at {times_capacity:g}", averages, RELEGATING)


def _lead_of(where: str, attained: Attained, kind: str) -> Lead:
    rival = best_of(attained, kind)
    points, room = (100 * (ours - attained[rival]) for ours in (attained[OURS], 1.0))
    return Lead(where, short(rival), points, room)


def budgets_of(attained: Attained, kind: str) -> Mapping[str, float]:
    """Of the fixed budgets of a kind."""
    return {planner: value for planner, value in attained.items() if is_fixed(planner, kind)}
