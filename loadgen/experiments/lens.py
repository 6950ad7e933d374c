"""`python -m loadgen.experiments.lens`: what lens attains on one engine, beside every fixed budget, and what each of its parts is worth.

Virtual time; the step model is learned from telemetry, from cold in every run.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console

from loadgen.arguments import positive_int
from loadgen.experiments.floor import ONE_ENGINE, SEEDS
from loadgen.experiments.lens_page import page
from loadgen.experiments.workloads import draw_workload
from loadgen.simulate.experiment import Cell, run_cells, write_rows
from loadgen.traces import BadTrace

ROWS = Path("runs/exp-lens.jsonl")
PAGE = Path("docs/results/lens.md")
SMOKE_ROWS = Path("runs/exp-lens-smoke.jsonl")
REQUESTS, SMOKE_REQUESTS = 800, 60
SMOKE_SEEDS = 2
TELEMETRY_DELAY_S = 0.05

LOADS = {"conversation": (4.5, 6.0, 7.2), "code": (3.0, 4.0, 4.8), "mixed": (2.0, 2.6, 3.1)}
"""Light; capacity, where the best fixed budget without relegation attains about 90 %; 1.2 times that."""
BUDGETS = (256, 384, 512, 1024, 2048)
PLANNERS = (
    *(f"static-{budget}" for budget in BUDGETS),
    *(f"static-{budget}-relegating" for budget in BUDGETS),
    *(f"static-{budget}-triaging" for budget in BUDGETS),
    *("prefill-first", "published", "synergy"),
)


def cells(traces: Path, requests: int, *, smoke: bool) -> list[Cell]:
    """Every planner at every load."""
    return [
        Cell(
            workload=workload,
            rate=rate,
            draw=partial(draw_workload, traces, workload, rate, requests),
            scenario=msgspec.structs.replace(ONE_ENGINE, planner=planner, delay_s=TELEMETRY_DELAY_S),
        )
        for workload, rates in LOADS.items()
        for rate in (rates[:1] if smoke else rates)
        for planner in PLANNERS
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, write rows and page; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.experiments.lens", description=__doc__)
    parser.add_argument("traces", type=Path, help="a folder with the traces' CSV files")
    parser.add_argument("--seeds", type=positive_int, help=f"{SEEDS}, or {SMOKE_SEEDS} with --smoke")
    parser.add_argument("--smoke", action="store_true", help=f"few requests, light load, no page; rows to {SMOKE_ROWS}")
    parser.add_argument("--rows", type=Path, help=f"{ROWS}")
    parser.add_argument("--page", type=Path, default=PAGE, help="%(default)s")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        planned = cells(options.traces, SMOKE_REQUESTS if options.smoke else REQUESTS, smoke=options.smoke)
        rows = run_cells(planned, range(options.seeds or (SMOKE_SEEDS if options.smoke else SEEDS)), console)
    except BadTrace as error:
        console.print(str(error), style="red", markup=False)
        return 2
    to = options.rows or (SMOKE_ROWS if options.smoke else ROWS)
    write_rows(rows, to)
    console.print(f"rows: {to}", markup=False, highlight=False)
    if not options.smoke:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(page(rows))
        console.print(f"page: {options.page}", markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
