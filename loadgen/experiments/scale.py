"""`python -m loadgen.experiments.scale`: fleets of up to a thousand engines, several routers, late telemetry, wrong predictions.

Virtual time; step models are learned from telemetry, from cold in every run.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from loadgen.arguments import positive_int
from loadgen.experiments.own_rows import run_own
from loadgen.experiments.prism import profiled
from loadgen.experiments.prism_loads import BY_LENS
from loadgen.experiments.scale_loads import DEALT, SMOKED, SWEEPS, Point, points
from loadgen.experiments.scale_page import FIGURE, figure, page
from loadgen.experiments.scale_rows import ScaleRow, row_of, run_timed
from loadgen.experiments.tables import OURS
from loadgen.experiments.workloads import draw_parts
from loadgen.options import requests_within
from loadgen.simulate.experiment import Cell
from loadgen.simulate.run import Scenario
from loadgen.traces import BadTrace

ROWS, SMOKE_ROWS = Path("runs/exp-scale.jsonl"), Path("runs/exp-scale-smoke.jsonl")
PAGE, FULL_PAGE = Path("runs/exp-scale.md"), Path("docs/results/scale.md")
SEEDS, SMOKE_SEEDS, FULL_SEEDS = 2, 1, 5
CONTENDERS = ("weighted-least-requests", "weighted-least-tokens")
"""The policies that react and come nearest."""


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


def run(options: argparse.Namespace, console: Console) -> None:
    """Run, write rows, page and figure.

    Raises:
        BadTrace: of the traces.
    """
    usual_seeds = SMOKE_SEEDS if options.smoke else FULL_SEEDS if options.full else SEEDS
    seeds = range(options.seeds or usual_seeds)
    sweeps = SMOKED if options.smoke else SWEEPS
    to = options.rows or (SMOKE_ROWS if options.smoke else ROWS)
    planned = cells(options.traces, points(sweeps))
    rows = run_own(
        planned, seeds, run_timed, partial(row_of, seeds), ScaleRow, to, console, resume=options.resume
    )
    console.print(f"rows: {to}", markup=False, highlight=False)
    if not options.smoke or options.page:
        page_path = options.page or (FULL_PAGE if options.full else PAGE)
        page_path.parent.mkdir(parents=True, exist_ok=True)
        page_path.write_text(page(rows, sweeps))
        (page_path.parent / FIGURE).write_text(figure(rows, sweeps))
        console.print(f"page: {page_path}", markup=False, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.experiments.scale", description=__doc__)
    parser.add_argument("traces", type=Path, help="a folder with the traces' CSV files")
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--smoke", action="store_true", help=f"short runs, few engines, no page; rows to {SMOKE_ROWS}")
    how_much.add_argument("--full", action="store_true", help=f"{FULL_SEEDS} seeds, and the page to {FULL_PAGE}")
    parser.add_argument("--seeds", type=positive_int, help=f"{SEEDS}, or {SMOKE_SEEDS} with --smoke")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run of the same seeds has found")
    parser.add_argument("--rows", type=Path, help=f"{ROWS}")
    parser.add_argument("--page", type=Path, help=f"{PAGE}; the figure goes beside it")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        run(options, console)
    except BadTrace as error:
        console.print(str(error), style="red", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
