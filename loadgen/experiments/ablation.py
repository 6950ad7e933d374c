"""`python -m loadgen.experiments.ablation`: both layers, one of them, or none, on eight equal engines; and the rivals tuned afterwards.

Virtual time; step models are learned from telemetry, from cold in every run.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial

import msgspec

from loadgen.experiments.ablation_loads import (
    BUDGETS,
    CONTENDERS,
    DELAY_S,
    ENGINES,
    IN_TIME_LONGER,
    LINES,
    NEITHER,
    OVER,
    PROFILE,
    PUBLISHED,
    QUICK_LINES,
    WORKLOADS,
    Line,
    at_capacity,
    ended_in_time,
    struggling,
)
from loadgen.experiments.ablation_page import page
from loadgen.experiments.comparison import Comparison, Extent, Load, command
from loadgen.experiments.document import Document
from loadgen.experiments.rates import Search
from loadgen.experiments.systems import System
from loadgen.experiments.tables import PLAIN, RELEGATING
from loadgen.experiments.workloads import draw_workload
from loadgen.options import requests_within
from loadgen.simulate.experiment import Cell
from loadgen.simulate.hardware import Hardware, hardware_by_profile
from loadgen.simulate.rows import Row
from loadgen.simulate.run import Knows, Scenario
from loadgen.workload import Request
from services.engine.profile import load_profile
from shared.slo import Slo

ARRIVING_S = {Extent.SMOKE: 0.5, Extent.QUICK: 16.0, Extent.FULL: 30.0}
SMOKED = (struggling(WORKLOADS[1]), at_capacity(WORKLOADS[1], OVER), ended_in_time(PUBLISHED[3]))
STRUGGLING = 0.4
"""Of the requests, where neither layer is to be seen failing, but not having failed altogether."""


def lines(extent: Extent) -> Sequence[Line]:
    """The loads that are run."""
    return {Extent.SMOKE: SMOKED, Extent.QUICK: QUICK_LINES, Extent.FULL: LINES}[extent]


def cells(load: Load, extent: Extent) -> Sequence[Cell]:
    """Every system at every load; one that two loads have in common is there once."""
    planned = [_cell(line, system, load) for line in lines(extent) for system in line.systems]
    return list({(c.workload, c.rate, c.scenario.planner, c.scenario.policy): c for c in planned}.values())


def searches(load: Load) -> Mapping[str, Search]:
    """For capacities, for the rivals that relegate, and for the rates at which neither layer attains much."""
    found: dict[str, Search] = {}
    for workload in WORKLOADS:
        known_per_s = workload.capacity_per_s
        for name, kind in (("capacity", PLAIN), ("capacity, relegating", RELEGATING)):
            tuned = [System(f"static-{budget}{kind}", policy) for budget in BUDGETS for policy in CONTENDERS]
            found[f"{workload.name}: {name}"] = Search(known_per_s, _at(workload.name, tuned, load))
        found[f"{workload.name}: neither"] = Search(
            workload.struggling_per_s, _at(workload.name, [NEITHER], load), STRUGGLING
        )
    for published in PUBLISHED:
        in_time = partial(_ended_within, published.threshold_s)
        of_neither = _at(published.asks, [NEITHER], load, published.threshold_s)
        found[f"{published.name}: neither"] = Search(published.rate_per_s, of_neither, STRUGGLING, in_time)
    return found


def document(rows: Sequence[Row], load: Load) -> Document:
    """The page and its figure."""
    return page(rows, load.arriving_s)


def _at(
    asks: str, systems: Sequence[System], load: Load, e2e_s: float | None = None
) -> Callable[[float], Sequence[Cell]]:
    def at(rate_per_s: float) -> Sequence[Cell]:
        return [_cell(Line(asks, asks, rate_per_s, systems, e2e_s), system, load) for system in systems]

    return at


def _ended_within(threshold_s: float, row: Row) -> float:
    return row.e2e_attainment[f"{threshold_s:g}"]


def _cell(line: Line, system: System, load: Load) -> Cell:
    return Cell(
        workload=line.name,
        rate=line.rate_per_s,
        draw=partial(_draw, load, line),
        scenario=Scenario(
            engines=ENGINES,
            hardware={PROFILE: _hardware()},
            planner=system.planner,
            policy=system.policy,
            knows=Knows.LEARNED,
            delay_s=DELAY_S,
        ),
    )


def _draw(load: Load, line: Line, seed: int) -> Sequence[Request]:
    arriving_s = load.arriving_s * (IN_TIME_LONGER if line.e2e_s is not None else 1.0)
    count = requests_within(arriving_s, line.rate_per_s)
    requests = draw_workload(load.traces, line.asks, line.rate_per_s, count, seed)
    if line.e2e_s is None:
        return requests
    return [msgspec.structs.replace(r, slo=Slo(name=r.slo.name, e2e_s=line.e2e_s)) for r in requests]


@cache
def _hardware() -> Hardware:
    return hardware_by_profile(load_profile(PROFILE))


EXPERIMENT = Comparison("ablation", str(__doc__), ARRIVING_S, cells, document, searches)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    return command(EXPERIMENT, arguments)


if __name__ == "__main__":
    sys.exit(main())
