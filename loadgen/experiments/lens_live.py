"""`python -m loadgen.experiments.lens_live`: what lens attains on real systems beside fixed budgets, under the same load for each.

`emulated`: engines of one profile, a planner each, asked the same at the same time, so that whatever befalls the machine befalls
all of them. `llamacpp`: a real model on one thread, an engine a planner, asked one after the other in an order of chance.
"""

import argparse
import asyncio
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import aiohttp
import msgspec
from rich.console import Console

from infra.native.system import SystemFailed
from loadgen.arguments import positive_float, positive_int
from loadgen.client import open_session
from loadgen.commands.status import FAILED, INVALID, TERMINATED
from loadgen.engines import NoSystem, read_model
from loadgen.experiments.lens_live_page import Compared, page
from loadgen.experiments.live_benches import BENCHES, Bench, BenchSystem, started
from loadgen.experiments.live_rows import LiveRow
from loadgen.experiments.live_runs import Asked, LensUnderTest, run_all_at_once, run_in_turn
from loadgen.experiments.tables import PLAIN
from loadgen.simulate.experiment import write_rows

ROWS, SMOKE_ROWS = Path("runs/exp-lens-live.jsonl"), Path("runs/exp-lens-live-smoke.jsonl")
PAGE = Path("docs/results/lens-live.md")
SEEDS = 5
TIMES_CAPACITY = (0.7, 1.0, 1.3)
WARM_UP_SEED, CAPACITY_SEEDS = 1000, (2000, 2001)
"""Other ones than the experiment's."""
ATTAINED_AT_CAPACITY = 0.9
SMOKE_DURATION_S = 3.0

Note = Callable[[LiveRow], None]


class Plan(NamedTuple):
    """What is done on each system."""

    seeds: Sequence[int] = range(SEEDS)
    times_capacity: Sequence[float] = TIMES_CAPACITY
    warms_up: bool = True


class Runs(NamedTuple):
    """Loads on a system that is there."""

    bench: Bench
    session: aiohttp.ClientSession
    router_url: str
    model: str

    async def at(
        self, rate_per_s: float, seed: int, lenses: Sequence[LensUnderTest], times_capacity: float = 0.0
    ) -> Sequence[LiveRow]:
        """The same load for each of the lenses, in an order of chance where they take turns."""
        bench = self.bench
        requests = bench.load.draw(rate_per_s, seed)
        settings = bench.load.settings(self.router_url, self.model, rate_per_s, seed, requests)
        asked = Asked(bench.name, times_capacity, settings, requests)
        if bench.is_emulated:
            return await run_all_at_once(self.session, self.router_url, asked, lenses)
        in_turn = random.Random(f"{seed} {rate_per_s}").sample(lenses, len(lenses))  # noqa: S311 - an order, no secret
        return await run_in_turn(self.session, asked, in_turn)


async def compare(bench: Bench, system: BenchSystem, plan: Plan, console: Console, note: Note) -> None:
    """Every planner at every rate, seed by seed, so that a machine that drifts does so at all rates."""
    async with open_session() as session:
        runs = Runs(bench, session, system.router_url, await read_model(session, system.lenses[0].url))
        if plan.warms_up:
            console.print(f"{bench.name}: every lens learns its engine", highlight=False)
            await runs.at(bench.rates_per_s[0], WARM_UP_SEED, system.lenses)
        capacity_per_s = bench.capacity_per_s or await _capacity_per_s(runs, system.lenses, console)
        console.print(f"{bench.name}: capacity is {capacity_per_s:g} requests/s", highlight=False)
        for seed in plan.seeds:
            for times in plan.times_capacity:
                for row in await runs.at(times * capacity_per_s, seed, system.lenses, times):
                    note(row)


async def _capacity_per_s(runs: Runs, lenses: Sequence[LensUnderTest], console: Console) -> float:
    """The highest rate up to which the best of the fixed budgets attains what it should; at least the lowest that is tried."""
    bench = runs.bench
    fixed = [lens for lens in lenses if lens.planner in bench.fixed]
    capacity_per_s = bench.rates_per_s[0]
    for rate_per_s in bench.rates_per_s:
        rows = [row for seed in CAPACITY_SEEDS for row in await runs.at(rate_per_s, seed, fixed)]
        best = max(fmean(row.attainment for row in rows if row.planner == lens.planner) for lens in fixed)
        told = f"{bench.name}: at {rate_per_s:g} requests/s the best fixed budget attains {best:.0%}"
        console.print(told, highlight=False)
        if best < ATTAINED_AT_CAPACITY:
            break
        capacity_per_s = rate_per_s
    return capacity_per_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, write rows and page; returns the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that no system is left behind
    console = Console()
    plan = Plan(range(1), TIMES_CAPACITY[:1], warms_up=False) if options.smoke else Plan(range(options.seeds))
    to = options.rows or (SMOKE_ROWS if options.smoke else ROWS)
    benches = list(_benches(options))
    rows = _of_others(to, benches)
    write_rows(rows, to)

    def note(row: LiveRow) -> None:
        rows.append(row)
        write_rows([row], to, append=True)
        console.print(_told(row), highlight=False)

    try:
        for bench in benches:
            with started(bench) as system:
                asyncio.run(compare(bench, system, plan, console, note))
    except (NoSystem, SystemFailed) as error:
        console.print(str(error), style="red", markup=False)
        return FAILED
    console.print(f"rows: {to}", markup=False, highlight=False)
    if not options.smoke:
        options.page.parent.mkdir(parents=True, exist_ok=True)
        options.page.write_text(page(rows, [Compared(bench.name, bench.load) for bench in BENCHES]))
        console.print(f"page: {options.page}", markup=False, highlight=False)
    return _status(rows, console)


def _of_others(path: Path, benches: Sequence[Bench]) -> list[LiveRow]:
    """What is known of systems that are not measured now."""
    lines = path.read_bytes().splitlines() if path.exists() else ()
    rows = (msgspec.json.decode(line, type=LiveRow) for line in lines)
    return [row for row in rows if row.system not in {bench.name for bench in benches}]


def _status(rows: Sequence[LiveRow], console: Console) -> int:
    if spoiled := [row for row in rows if row.overloads]:
        told = f"{len(spoiled)} of {len(rows)} runs, the first: {spoiled[0].overloads[0]}"
        console.print(f"INVALID: the machine was overloaded in {told}", style="red", markup=False)
        return INVALID
    return FAILED if any(row.failed for row in rows) else 0


def _told(row: LiveRow) -> str:
    where = f"{row.system}, {row.times_capacity:g} times capacity, seed {row.seed}"
    return f"{where}, {row.planner}: {row.attainment:.0%} of {row.offered}"


def _benches(options: argparse.Namespace) -> Iterator[Bench]:
    for bench in BENCHES:
        if options.only not in (None, bench.name):
            continue
        capacity_per_s: float | None = getattr(options, f"{bench.name}_capacity")
        budgets: Sequence[int] | None = getattr(options, f"{bench.name}_budgets")
        chosen = bench._replace(capacity_per_s=capacity_per_s or bench.capacity_per_s, budgets=budgets or bench.budgets)
        if options.smoke:
            load = bench.load._replace(duration_s=SMOKE_DURATION_S)
            rate_per_s = bench.rates_per_s[0]
            chosen = chosen._replace(load=load, budgets=bench.budgets[:1], kinds=(PLAIN,), capacity_per_s=rate_per_s)
        yield chosen


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadgen.experiments.lens_live", description=__doc__)
    names = [bench.name for bench in BENCHES]
    parser.add_argument("--only", choices=names, help="one of the systems, and keep what is known of the other; both")
    parser.add_argument("--seeds", type=positive_int, default=SEEDS, help="%(default)s")
    for bench in BENCHES:
        known = "measured first" if bench.capacity_per_s is None else f"{bench.capacity_per_s:g}"
        parser.add_argument(
            f"--{bench.name}-capacity", type=positive_float, metavar="PER_S", help=f"requests/s; {known}"
        )
        budgets = f"tokens a step ({' '.join(map(str, bench.budgets))})"
        parser.add_argument(f"--{bench.name}-budgets", type=positive_int, nargs="+", metavar="N", help=budgets)
    parser.add_argument("--smoke", action="store_true", help=f"one light run, fewer planners, no page; to {SMOKE_ROWS}")
    parser.add_argument("--rows", type=Path, help=f"{ROWS}")
    parser.add_argument("--page", type=Path, default=PAGE, help="%(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
