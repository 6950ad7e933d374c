"""`python -m loadgen.experiments.drift`: attainment over time as an engine slows, dies or joins in mid-run.

Virtual time; step models are learned from telemetry, from cold in every run.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from loadgen.experiments.comparison import Extent
from loadgen.experiments.drift_loads import DELAY_S, LINES, SMOKED, SMOKED_TIMELINE, TIMELINE, Line
from loadgen.experiments.drift_page import figures, page
from loadgen.experiments.drift_series import SeriesRow, row_of, run_series
from loadgen.experiments.own_command import Asked, Experiment, Illustrated, command
from loadgen.experiments.own_rows import run_own
from loadgen.experiments.prism import profiled
from loadgen.experiments.prism_loads import BY_LENS, ENGINES
from loadgen.experiments.tables import OURS
from loadgen.experiments.workloads import draw_parts
from loadgen.options import requests_within
from loadgen.simulate.experiment import Cell
from loadgen.simulate.run import Scenario

CONTENDERS = ("weighted-least-requests", "weighted-least-tokens")
"""The policies that react and come nearest."""


def cells(traces: Path, lines: Sequence[Line], at_s: float, arriving_s: float) -> list[Cell]:
    """Every policy at each load; and ours on the fleet as it then is.

    Args:
        at_s: of what befalls the fleet.
        arriving_s: for how long requests arrive.
    """
    return [
        Cell(
            workload=each.name,
            rate=each.rate_per_s,
            draw=partial(draw_parts, traces, (each.part,), requests_within(arriving_s, each.rate_per_s)),
            scenario=Scenario(
                engines=each.engines,
                hardware={name: profiled(name) for name in ENGINES.values()},
                incidents=each.incidents(at_s),
                planner=BY_LENS,
                policy=policy,
                delay_s=DELAY_S,
            ),
        )
        for line in lines
        for each, policies in ((line, (OURS, *CONTENDERS)), (line._replace(anew=True), (OURS,)))
        for policy in policies
    ]


def run(asked: Asked, console: Console) -> Illustrated:
    """Run and write the rows.

    Raises:
        BadTrace: of the traces.
    """
    timeline, lines = (SMOKED_TIMELINE, SMOKED) if asked.extent is Extent.SMOKE else (TIMELINE, LINES)
    rows = run_own(
        cells(asked.traces, lines, timeline.at_s, timeline.arriving_s),
        asked.seeds,
        partial(run_series, timeline),
        partial(row_of, timeline.window_s, asked.seeds),
        SeriesRow,
        asked.rows,
        console,
        resume=asked.resume,
    )
    return Illustrated(page(rows, timeline), figures(rows, timeline))


EXPERIMENT = Experiment("drift", str(__doc__), run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    return command(EXPERIMENT, arguments)


if __name__ == "__main__":
    sys.exit(main())
