"""`python -m loadgen.experiments.drift`: attainment over time as an engine slows, dies or joins in mid-run.

Virtual time; step models are learned from telemetry, from cold in every run.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from loadgen.arguments import positive_int
from loadgen.experiments.drift_loads import DELAY_S, LINES, SMOKED, SMOKED_TIMELINE, TIMELINE, Line
from loadgen.experiments.drift_page import figures, page
from loadgen.experiments.drift_series import SeriesRow, row_of, run_series
from loadgen.experiments.own_rows import run_own
from loadgen.experiments.prism import profiled
from loadgen.experiments.prism_loads import BY_LENS, ENGINES
from loadgen.experiments.tables import OURS
from loadgen.experiments.workloads import draw_parts
from loadgen.options import requests_within
from loadgen.simulate.experiment import Cell
from loadgen.simulate.run import Scenario
from loadgen.traces import BadTrace

ROWS, SMOKE_ROWS = Path("runs/exp-drift.jsonl"), Path("runs/exp-drift-smoke.jsonl")
PAGE, FULL_PAGE = Path("runs/exp-drift.md"), Path("docs/results/drift.md")
SEEDS, SMOKE_SEEDS, FULL_SEEDS = 2, 1, 5
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


def run(options: argparse.Namespace, console: Console) -> None:
    """Run, write rows, page and figures.

    Raises:
        BadTrace: of the traces.
    """
    usual_seeds = SMOKE_SEEDS if options.smoke else FULL_SEEDS if options.full else SEEDS
    seeds = range(options.seeds or usual_seeds)
    timeline, lines = (SMOKED_TIMELINE, SMOKED) if options.smoke else (TIMELINE, LINES)
    to = options.rows or (SMOKE_ROWS if options.smoke else ROWS)
    planned = cells(options.traces, lines, timeline.at_s, timeline.arriving_s)
    rows = run_own(
        planned,
        seeds,
        partial(run_series, timeline),
        partial(row_of, timeline.window_s, seeds),
        SeriesRow,
        to,
        console,
        resume=options.resume,
    )
    console.print(f"rows: {to}", markup=False, highlight=False)
    if not options.smoke or options.page:
        page_path = options.page or (FULL_PAGE if options.full else PAGE)
        page_path.parent.mkdir(parents=True, exist_ok=True)
        page_path.write_text(page(rows, timeline))
        for name, drawing in figures(rows, timeline).items():
            (page_path.parent / name).write_text(drawing)
        console.print(f"page: {page_path}", markup=False, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.experiments.drift", description=__doc__)
    parser.add_argument("traces", type=Path, help="a folder with the traces' CSV files")
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--smoke", action="store_true", help=f"short runs, few loads, no page; rows to {SMOKE_ROWS}")
    how_much.add_argument("--full", action="store_true", help=f"{FULL_SEEDS} seeds, and the page to {FULL_PAGE}")
    parser.add_argument("--seeds", type=positive_int, help=f"{SEEDS}, or {SMOKE_SEEDS} with --smoke")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run of the same seeds has found")
    parser.add_argument("--rows", type=Path, help=f"{ROWS}")
    parser.add_argument("--page", type=Path, help=f"{PAGE}; the figures go beside it")
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
