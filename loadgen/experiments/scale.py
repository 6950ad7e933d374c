"""`python -m loadgen.experiments.scale`: fleets of up to a thousand engines, several routers, late telemetry, wrong predictions.

Virtual time; step models are learned from telemetry, from cold in every run.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from loadgen.experiments.comparison import Extent
from loadgen.experiments.own_command import Asked, Experiment, Illustrated, command
from loadgen.experiments.own_rows import run_own
from loadgen.experiments.prism import profiled
from loadgen.experiments.prism_loads import BY_LENS
from loadgen.experiments.scale_loads import DEALT, FULL_SWEEPS, SMOKED, SWEEPS, Point, Sweep, points
from loadgen.experiments.scale_page import FIGURE, figure, page
from loadgen.experiments.scale_rows import ScaleRow, row_of, run_timed
from loadgen.experiments.tables import OURS
from loadgen.experiments.workloads import draw_parts
from loadgen.options import requests_within
from loadgen.simulate.experiment import Cell
from loadgen.simulate.run import Scenario

CONTENDERS = ("weighted-least-requests", "weighted-least-tokens")
"""The policies that react and come nearest."""

SWEPT: Mapping[Extent, Sequence[Sweep]] = {Extent.SMOKE: SMOKED, Extent.QUICK: SWEEPS, Extent.FULL: FULL_SWEEPS}


def cells(traces: Path, planned: Sequence[Point]) -> list[Cell]:
    """Every policy at each point; the largest fleets first, for they take longest."""
    return [
        Cell(
            workload=point.name,
            rate=point.rate_per_s,
            draw=partial(draw_parts, traces, (point.part,), requests_within(point.arriving_s, point.rate_per_s)),
            scenario=Scenario(
                engines=point.fleet,
                hardware={name: profiled(name) for name in DEALT},
                planner=BY_LENS,
                policy=policy,
                replicas=point.replicas,
                delay_s=point.delay_s,
                misjudged=point.misjudged,
            ),
        )
        for point in sorted(planned, key=lambda point: -point.engines)
        for policy in (OURS, *CONTENDERS)
    ]


def run(asked: Asked, console: Console) -> Illustrated:
    """Run and write the rows.

    Raises:
        BadTrace: of the traces.
    """
    sweeps = SWEPT[asked.extent]
    rows = run_own(
        cells(asked.traces, points(sweeps)),
        asked.seeds,
        run_timed,
        partial(row_of, asked.seeds),
        ScaleRow,
        asked.rows,
        console,
        resume=asked.resume,
    )
    return Illustrated(page(rows, sweeps), {FIGURE: figure(rows, sweeps)})


EXPERIMENT = Experiment("scale", str(__doc__), run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    return command(EXPERIMENT, arguments)


if __name__ == "__main__":
    sys.exit(main())
