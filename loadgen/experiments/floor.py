"""`python -m loadgen.experiments.floor`: what fixed rules attain, as the floor for everything that adapts.

Virtual time; planners and routers know the true step times, so that nothing but the rules themselves is compared.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console

from loadgen.arguments import positive_int
from loadgen.experiments.floor_page import page
from loadgen.experiments.workloads import draw_workload
from loadgen.simulate.experiment import Cell, run_cells, write_rows
from loadgen.simulate.fleet import Slow
from loadgen.simulate.hardware import Law, hardware_by_law
from loadgen.simulate.run import Knows, Scenario
from loadgen.traces import BadTrace

ROWS, SMOKE_ROWS = Path("runs/exp-floor.jsonl"), Path("runs/exp-floor-smoke.jsonl")
PAGE = Path("docs/results/floor.md")
SEEDS, SMOKE_SEEDS = 5, 2
ENGINE_REQUESTS, FLEET_REQUESTS, SMOKE_REQUESTS = 800, 1500, 60
UNBOUNDED = 10**9
"""No request is refused."""

ENGINE_LOADS = {"conversation": (6, 7, 8), "code": (5, 6, 7), "mixed": (3, 4, 5)}
PLANNERS = (
    *("static-512", "static-2048"),
    *(f"static-{budget}-relegating" for budget in (256, 384, 512, 1024, 2048)),
    *("prefill-first", "published"),
)
FLEET_LOADS = {"conversation": (16, 20, 24), "code": (20,), "mixed": (14,)}
FLEET_LOADS_SLOWED = {"mixed": (10, 12)}
FLEET_PLANNER = "static-2048"
POLICIES = (
    *("round-robin", "power-of-two", "least-requests", "weighted-least-requests"),
    *("least-tokens", "weighted-least-tokens", "lowest-latency", "published"),
)
SLOWED = "h100"
SLOWNESS = 1.8

# Milliseconds a step, from step logs and published fits; the KV capacity is what memory leaves beside the weights.
H100_32B = hardware_by_law("h100-qwq-32b", Law(17.4, 0.0, 0.0557, 8.8e-5), kv_tokens=150_000)
ONE_ENGINE = Scenario(
    engines={"engine": "h100"}, hardware={"h100": H100_32B}, policy="round-robin", max_waiting=UNBOUNDED
)
FLEET = {
    "h100": hardware_by_law("h100", Law(5.2, 0.214, 0.0241, 5e-5), kv_tokens=426_816),
    "a100": hardware_by_law("a100", Law(9.7, 0.5, 0.0708, 8.5e-5), kv_tokens=426_816),
    "2xa6000": hardware_by_law("2xa6000", Law(13.7, 0.0, 0.118, 1.1e-4), kv_tokens=536_640),
}
FLEET_ENGINES = {"h100": "h100", "a100": "a100", "a6000-1": "2xa6000", "a6000-2": "2xa6000"}


def engine_cells(traces: Path, requests: int, *, smoke: bool) -> list[Cell]:
    """One engine, every planner."""
    return [
        Cell(
            workload=workload,
            rate=rate,
            draw=partial(draw_workload, traces, workload, rate, requests),
            scenario=msgspec.structs.replace(ONE_ENGINE, planner=planner, knows=Knows.TRUE, instant=True),
        )
        for workload, rates in ENGINE_LOADS.items()
        for rate in (rates[:1] if smoke else rates)
        for planner in PLANNERS
    ]


def fleet_cells(traces: Path, requests: int, *, smoke: bool) -> list[Cell]:
    """Four unequal engines, every reactive policy."""
    loads = [(workload, rate, False) for workload, rates in FLEET_LOADS.items() for rate in rates]
    loads += [(workload, rate, True) for workload, rates in FLEET_LOADS_SLOWED.items() for rate in rates]
    return [
        Cell(
            workload=f"{workload}, {SLOWED} slowed" if slowed else workload,
            rate=rate,
            draw=partial(draw_workload, traces, workload, rate, requests),
            scenario=Scenario(
                engines=FLEET_ENGINES,
                hardware=FLEET,
                incidents=(Slow(0.0, SLOWED, SLOWNESS),) if slowed else (),
                planner=FLEET_PLANNER,
                policy=policy,
                knows=Knows.TRUE,
                instant=True,
                max_waiting=UNBOUNDED,
            ),
        )
        for workload, rate, slowed in (loads[:1] if smoke else loads)
        for policy in POLICIES
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, write rows and page; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.experiments.floor", description=__doc__)
    parser.add_argument("traces", type=Path, help="a folder with the traces' CSV files")
    parser.add_argument("--seeds", type=positive_int, help=f"{SEEDS} unless told")
    parser.add_argument(
        "--smoke", action="store_true", help=f"a minute's worth: few requests, {SMOKE_SEEDS} seeds, no page"
    )
    parser.add_argument("--rows", type=Path, help=f"{ROWS}, or {SMOKE_ROWS}, unless told")
    parser.add_argument("--page", type=Path, default=PAGE, help="%(default)s")
    options = parser.parse_args(arguments)
    console = Console()
    seeds = options.seeds or (SMOKE_SEEDS if options.smoke else SEEDS)
    rows_path = options.rows or (SMOKE_ROWS if options.smoke else ROWS)
    engine_requests = SMOKE_REQUESTS if options.smoke else ENGINE_REQUESTS
    fleet_requests = SMOKE_REQUESTS if options.smoke else FLEET_REQUESTS
    try:
        of_engine = engine_cells(options.traces, engine_requests, smoke=options.smoke)
        of_fleet = fleet_cells(options.traces, fleet_requests, smoke=options.smoke)
        rows = run_cells([*of_engine, *of_fleet], range(seeds), console)
    except BadTrace as error:
        console.print(str(error), style="red", markup=False)
        return 2
    write_rows(rows, rows_path)
    console.print(f"rows: {rows_path}", markup=False, highlight=False)
    if not options.smoke:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(page(rows[: len(of_engine)], rows[len(of_engine) :]))
        console.print(f"page: {options.page}", markup=False, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
