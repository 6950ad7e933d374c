"""`python -m loadgen.experiments.heterogeneous`: every router policy on four unequal engines, each of which batches as lens does.

Virtual time; step models are learned from telemetry, from cold in every run.
"""

import sys
from collections.abc import Mapping, Sequence

from loadgen.experiments.comparison import Comparison, Extent, Load, command
from loadgen.experiments.document import Document
from loadgen.experiments.fleet_loads import FOUR, HETEROGENEOUS_LINES
from loadgen.experiments.heterogeneous_page import page
from loadgen.experiments.prism import REACTIVE, capacity_search, cell
from loadgen.experiments.rates import Search
from loadgen.experiments.tables import OURS
from loadgen.simulate.experiment import Cell
from loadgen.simulate.rows import Row
from loadgen.simulate.run import ORACLE

ARRIVING_S = {Extent.SMOKE: 2.0, Extent.QUICK: 20.0, Extent.FULL: 40.0}
SMOKED = HETEROGENEOUS_LINES[:1]
POLICIES = (*REACTIVE, OURS, ORACLE)


def cells(load: Load, extent: Extent) -> Sequence[Cell]:
    """Every policy at every load."""
    lines = SMOKED if extent is Extent.SMOKE else HETEROGENEOUS_LINES
    return [cell(line, policy, load.traces, load.arriving_s) for line in lines for policy in POLICIES]


def searches(load: Load) -> Mapping[str, Search]:
    """For the capacities."""
    return {workload.name: capacity_search(workload, load.traces, load.arriving_s) for workload in FOUR}


def document(rows: Sequence[Row], load: Load) -> Document:
    """The page and its figure."""
    return page(rows, load.arriving_s)


EXPERIMENT = Comparison("heterogeneous", str(__doc__), ARRIVING_S, cells, document, searches)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    return command(EXPERIMENT, arguments)


if __name__ == "__main__":
    sys.exit(main())
