"""`python -m loadgen.experiments.prism`: what prism attains on four unequal engines, beside policies that react to load.

Virtual time; step models are learned from telemetry, from cold in every run.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from rich.console import Console

from loadgen.arguments import positive_float, positive_int
from loadgen.experiments.prism_loads import (
    BY_LENS,
    CAPACITY,
    ENGINES,
    LINES,
    REGRETTED,
    SEVERAL,
    SMOKED,
    WORKLOADS,
    Line,
    Workload,
)
from loadgen.experiments.prism_page import page
from loadgen.experiments.prism_regret_runs import regrets
from loadgen.experiments.rates import Search, tell_rate
from loadgen.experiments.resuming import run_resumable
from loadgen.experiments.tables import OURS
from loadgen.experiments.workloads import draw_parts
from loadgen.options import requests_within
from loadgen.simulate.experiment import Cell
from loadgen.simulate.hardware import Hardware, hardware_by_profile
from loadgen.simulate.run import ORACLE, Knows, Scenario
from loadgen.traces import BadTrace
from services.engine.profile import load_profile
from services.prism.policies import POLICIES

ROWS, SMOKE_ROWS = Path("runs/exp-prism.jsonl"), Path("runs/exp-prism-smoke.jsonl")
PAGE = Path("docs/results/prism.md")
SEEDS, SMOKE_SEEDS = 2, 2
ARRIVING_S, SMOKE_ARRIVING_S = 20.0, 3.0
DECISIONS, SMOKE_DECISIONS = 3, 1
"""Whose regret is worked out, a seed of a load: six runs each."""
CAPACITY_SEEDS = range(100, 102)
CAPACITY_ARRIVING_S = 30.0

REACTIVE = tuple(policy for policy in POLICIES if policy != OURS)
CONTENDERS = ("least-requests", "weighted-least-requests", "least-tokens", "weighted-least-tokens")
"""Those of them that come near."""


def policies(line: Line) -> Sequence[str]:
    """That are compared at a load."""
    if line.replicas == SEVERAL:
        return *CONTENDERS, OURS
    return *REACTIVE, OURS, ORACLE


def cell(line: Line, policy: str, traces: Path, arriving_s: float, planner: str = BY_LENS) -> Cell:
    """A policy at a load.

    Args:
        traces: the folder of their CSV files.
        arriving_s: for how long requests arrive.
        planner: what engines batch by.
    """
    return Cell(
        workload=line.name,
        rate=line.rate_per_s,
        draw=partial(draw_parts, traces, (line.part,), requests_within(arriving_s, line.rate_per_s)),
        scenario=Scenario(
            engines=ENGINES,
            hardware={name: _hardware(name) for name in ENGINES.values()},
            incidents=line.incidents(arriving_s),
            planner=planner,
            policy=policy,
            replicas=line.replicas,
            knows=Knows.LEARNED,
            delay_s=line.workload.delay_s,
        ),
    )


@cache
def _hardware(profile: str) -> Hardware:
    return hardware_by_profile(load_profile(profile))


def run(options: argparse.Namespace, console: Console) -> None:
    """Run, write rows and page.

    Raises:
        BadTrace: of the traces.
    """
    seeds = range(options.seeds or (SMOKE_SEEDS if options.smoke else SEEDS))
    arriving_s = options.seconds or (SMOKE_ARRIVING_S if options.smoke else ARRIVING_S)
    decisions = SMOKE_DECISIONS if options.smoke else DECISIONS
    to = options.rows or (SMOKE_ROWS if options.smoke else ROWS)
    of_regret = to.with_stem(f"{to.stem}-regret")
    lines, regretted = (SMOKED, SMOKED[1:2]) if options.smoke else (LINES, REGRETTED)
    lasting_s = {line.key: arriving_s * (1.0 if options.smoke else line.workload.times_as_long) for line in lines}
    planned = [cell(line, policy, options.traces, lasting_s[line.key]) for line in lines for policy in policies(line)]
    rows = run_resumable(planned, seeds, to, console, resume=options.resume, anew=options.anew)
    looked_into = [cell(line, OURS, options.traces, lasting_s[line.key]) for line in regretted]
    is_known = options.resume and OURS not in options.anew
    regret = regrets(looked_into, seeds, decisions, of_regret, console, resume=is_known)
    console.print(f"rows: {to}, {of_regret}", markup=False, highlight=False)
    if not options.smoke:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(page(rows, regret, arriving_s))
        console.print(f"page: {options.page}", markup=False, highlight=False)


def tell_capacities(options: argparse.Namespace, console: Console) -> None:
    """Search for the capacities that were asked for.

    Raises:
        BadTrace: of the traces.
    """
    seeds = range(CAPACITY_SEEDS.start, CAPACITY_SEEDS.start + (options.seeds or len(CAPACITY_SEEDS)))
    shortest_s = options.seconds or CAPACITY_ARRIVING_S
    for workload in WORKLOADS:
        if workload.name in options.find_capacity:
            tell_rate(workload.name, capacity_search(workload, options.traces, shortest_s), seeds, console)


def capacity_search(workload: Workload, traces: Path, shortest_s: float) -> Search:
    """For the rate at which the best policy that reacts attains its share.

    Args:
        traces: the folder of their CSV files.
        shortest_s: for how long requests arrive, where a workload does not take longer.
    """
    arriving_s = shortest_s * workload.times_as_long

    def cells(rate_per_s: float) -> Sequence[Cell]:
        line = Line(workload._replace(capacity_per_s=rate_per_s), CAPACITY)
        return [cell(line, policy, traces, arriving_s, workload.capacity_by) for policy in REACTIVE]

    return Search(workload.capacity_per_s, cells)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.experiments.prism", description=__doc__)
    parser.add_argument("traces", type=Path, help="a folder with the traces' CSV files")
    parser.add_argument("--seeds", type=positive_int, help=f"{SEEDS}, or {SMOKE_SEEDS} with --smoke")
    parser.add_argument("--smoke", action="store_true", help=f"short runs, few loads, no page; rows to {SMOKE_ROWS}")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run of the same seeds has found")
    parser.add_argument(
        "--anew",
        action="append",
        default=[],
        choices=(*POLICIES, ORACLE),
        metavar="POLICY",
        help="but not of this policy, which has changed since; repeatable",
    )
    parser.add_argument(
        "--seconds",
        type=positive_float,
        help=f"for which requests arrive; {ARRIVING_S:g}, or {SMOKE_ARRIVING_S:g} with --smoke",
    )
    parser.add_argument("--rows", type=Path, help=f"{ROWS}")
    parser.add_argument("--page", type=Path, default=PAGE, help="%(default)s")
    parser.add_argument(
        "--find-capacity",
        choices=[workload.name for workload in WORKLOADS],
        action="append",
        help=f"instead of all this, look for a workload's capacity, with other seeds and {CAPACITY_ARRIVING_S:g} s; repeatable",
    )
    options = parser.parse_args(arguments)
    console = Console()
    try:
        if options.find_capacity:
            tell_capacities(options, console)
        else:
            run(options, console)
    except BadTrace as error:
        console.print(str(error), style="red", markup=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
