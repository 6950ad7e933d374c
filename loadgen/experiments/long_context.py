"""`python -m loadgen.experiments.long_context`: what four unequal engines bring where prompts are long, beside what they could at most.

Virtual time; step models are learned from telemetry, from cold in every run.
"""

import sys
from collections.abc import Mapping, Sequence

from loadgen.experiments.comparison import Comparison, Extent, Load, command
from loadgen.experiments.document import Document
from loadgen.experiments.fleet_loads import LONG, LONG_LINES, LONG_SYSTEMS
from loadgen.experiments.fluid import Bounds, asked_of, fluid_bound
from loadgen.experiments.long_context_page import page
from loadgen.experiments.prism import capacity_search, cell
from loadgen.experiments.prism_loads import CAPACITY, ENGINES, Line
from loadgen.experiments.rates import Search
from loadgen.experiments.workloads import draw_workload
from loadgen.simulate.experiment import Cell
from loadgen.simulate.hardware import hardware_by_profile
from loadgen.simulate.rows import Row
from services.engine.profile import load_profile

ARRIVING_S = {Extent.SMOKE: 4.0, Extent.QUICK: 120.0, Extent.FULL: 180.0}
"""Longer than the targets are by far, since what is thrown into a run's end is work that nobody did."""
SMOKED = (Line(LONG, CAPACITY),)
DRAWN, DRAWN_SEED = 20_000, 0
"""Requests, of which the bound's means are taken."""


def cells(load: Load, extent: Extent) -> Sequence[Cell]:
    """Every system at every load."""
    lines = SMOKED if extent is Extent.SMOKE else LONG_LINES
    return [
        cell(line, policy, load.traces, load.arriving_s, planner) for line in lines for planner, policy in LONG_SYSTEMS
    ]


def searches(load: Load) -> Mapping[str, Search]:
    """For the capacity."""
    return {LONG.name: capacity_search(LONG, load.traces, load.arriving_s)}


def document(rows: Sequence[Row], load: Load) -> Document:
    """The page and its figure."""
    asked = asked_of(draw_workload(load.traces, LONG.asks, LONG.capacity_per_s, DRAWN, DRAWN_SEED))
    hardware = [hardware_by_profile(load_profile(profile)) for profile in ENGINES.values()]
    bounds = Bounds(fluid_bound(hardware, asked), fluid_bound(hardware, asked, moves=True))
    return page(rows, asked, bounds, load.arriving_s)


EXPERIMENT = Comparison("long-context", str(__doc__), ARRIVING_S, cells, document, searches)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    return command(EXPERIMENT, arguments)


if __name__ == "__main__":
    sys.exit(main())
