"""`python -m loadgen.experiments.lens`: what lens attains on one engine, beside every fixed budget, and what each of its parts is worth.

Virtual time; the step model is learned from telemetry, from cold in every run.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console

from loadgen.arguments import positive_int
from loadgen.experiments.floor import ONE_ENGINE, SEEDS
from loadgen.experiments.lens_loads import FAR_OVER, LIGHT, LINES, MEASURED, STRAIGHT, Line
from loadgen.experiments.lens_page import KINDS, page
from loadgen.experiments.resuming import run_resumable
from loadgen.experiments.tables import OURS, TRIAGING, is_fixed
from loadgen.experiments.workloads import draw_parts
from loadgen.simulate.experiment import Cell
from loadgen.simulate.hardware import hardware_by_profile
from loadgen.simulate.run import Knows, Scenario
from loadgen.traces import BadTrace
from services.engine.profile import load_profile

ROWS = Path("runs/exp-lens.jsonl")
PAGE = Path("docs/results/lens.md")
SMOKE_ROWS = Path("runs/exp-lens-smoke.jsonl")
REQUESTS, SMOKE_REQUESTS = 800, 40
SMOKE_SEEDS = 2
TELEMETRY_DELAY_S = 0.05

BUDGETS = (256, 320, 384, 448, 512, 1024, 2048, 8192)
BY_OTHERS = ("prefill-first", "published")
"""Rules without a budget."""
PLANNERS = (*(f"static-{budget}{kind}" for kind in KINDS for budget in BUDGETS), *BY_OTHERS, OURS)


def scenarios() -> Mapping[str, Scenario]:
    """One engine, by its hardware."""
    profiled = hardware_by_profile(load_profile(MEASURED))
    return {
        STRAIGHT: ONE_ENGINE,
        MEASURED: msgspec.structs.replace(ONE_ENGINE, engines={"engine": MEASURED}, hardware={MEASURED: profiled}),
    }


def cells(traces: Path, requests: int, *, smoke: bool) -> list[Cell]:
    """Every planner at every load."""
    by_hardware = scenarios()
    return [
        Cell(
            workload=line.workload.name,
            rate=line.rate_per_s,
            draw=partial(draw_parts, traces, line.parts, requests),
            scenario=msgspec.structs.replace(
                by_hardware[line.workload.hardware],
                planner=planner,
                knows=Knows.LEARNED if foresees(planner) else Knows.TRUE,
                delay_s=TELEMETRY_DELAY_S,
            ),
        )
        for line in lines(smoke=smoke)
        for planner in PLANNERS
        if planner not in BY_OTHERS or line.times_capacity < FAR_OVER
    ]


def foresees(planner: str) -> bool:
    """Whether it asks the step model; for one that does not, there is nothing to be learned, which takes its time."""
    return planner in ("published", OURS) or is_fixed(planner, TRIAGING)


def lines(*, smoke: bool) -> Sequence[Line]:
    """All loads; for a quick look those that are light."""
    return [line for line in LINES if line.times_capacity == LIGHT] if smoke else LINES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, write rows and page; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.experiments.lens", description=__doc__)
    parser.add_argument("traces", type=Path, help="a folder with the traces' CSV files")
    parser.add_argument("--seeds", type=positive_int, help=f"{SEEDS}, or {SMOKE_SEEDS} with --smoke")
    parser.add_argument("--smoke", action="store_true", help=f"few requests, light load, no page; rows to {SMOKE_ROWS}")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run of the same seeds has found")
    parser.add_argument("--requests", type=positive_int, help=f"a run; {REQUESTS}, or {SMOKE_REQUESTS} with --smoke")
    parser.add_argument("--rows", type=Path, help=f"{ROWS}")
    parser.add_argument("--page", type=Path, default=PAGE, help="%(default)s")
    options = parser.parse_args(arguments)
    console = Console()
    requests = options.requests or (SMOKE_REQUESTS if options.smoke else REQUESTS)
    seeds = range(options.seeds or (SMOKE_SEEDS if options.smoke else SEEDS))
    to = options.rows or (SMOKE_ROWS if options.smoke else ROWS)
    try:
        planned = cells(options.traces, requests, smoke=options.smoke)
        rows = run_resumable(planned, seeds, to, console, resume=options.resume)
    except BadTrace as error:
        console.print(str(error), style="red", markup=False)
        return 2
    console.print(f"rows: {to}", markup=False, highlight=False)
    if not options.smoke:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(page(rows, LINES, requests))
        console.print(f"page: {options.page}", markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
