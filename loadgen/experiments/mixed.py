"""`python -m loadgen.experiments.mixed`: three classes at once on four unequal engines, where foresight has to earn its place.

Virtual time; step models are learned from telemetry, from cold in every run.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial

from loadgen.experiments.comparison import Comparison, Extent, Load, command
from loadgen.experiments.document import Document
from loadgen.experiments.fleet_loads import (
    CONTENDERS,
    MIXED_LINES,
    PLAIN_BUDGETS,
    RELEGATING_BUDGETS,
    THREE_CLASSES,
)
from loadgen.experiments.mixed_page import page
from loadgen.experiments.prism import REACTIVE, cell
from loadgen.experiments.prism_loads import BY_LENS, CAPACITY, Line
from loadgen.experiments.rates import Search
from loadgen.experiments.tables import OURS, PLAIN, RELEGATING
from loadgen.simulate.experiment import Cell
from loadgen.simulate.rows import Row
from loadgen.simulate.run import ORACLE

ARRIVING_S = {Extent.SMOKE: 2.0, Extent.QUICK: 20.0, Extent.FULL: 60.0}
SMOKED = (Line(THREE_CLASSES, CAPACITY),)
SEARCHED_BUDGETS = (256, 512, 1024, 2048, 8192)


def policies(planner: str) -> Sequence[str]:
    """All above lens; above a fixed budget those that come near, and ours."""
    return (*REACTIVE, OURS, ORACLE) if planner == BY_LENS else (*CONTENDERS, OURS)


def cells(load: Load, extent: Extent) -> Sequence[Cell]:
    """Every policy above every planner at every load."""
    lines = SMOKED if extent is Extent.SMOKE else MIXED_LINES
    return [
        cell(line, policy, load.traces, load.arriving_s, planner)
        for line in lines
        for planner in (BY_LENS, *PLAIN_BUDGETS, *RELEGATING_BUDGETS)
        for policy in policies(planner)
    ]


def searches(load: Load) -> Mapping[str, Search]:
    """For the capacity, and for the budgets that relegate best."""
    return {
        f"{THREE_CLASSES.name}: {name}": Search(THREE_CLASSES.capacity_per_s, partial(_fixed_at, kind, load))
        for name, kind in (("capacity", PLAIN), ("capacity, relegating", RELEGATING))
    }


def document(rows: Sequence[Row], load: Load) -> Document:
    """The page and its figure."""
    return page(rows, load.arriving_s)


def _fixed_at(kind: str, load: Load, rate_per_s: float) -> Sequence[Cell]:
    line = Line(THREE_CLASSES._replace(capacity_per_s=rate_per_s), CAPACITY)
    return [
        cell(line, policy, load.traces, load.arriving_s, f"static-{budget}{kind}")
        for budget in SEARCHED_BUDGETS
        for policy in CONTENDERS
    ]


EXPERIMENT = Comparison("mixed", str(__doc__), ARRIVING_S, cells, document, searches)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    return command(EXPERIMENT, arguments)


if __name__ == "__main__":
    sys.exit(main())
