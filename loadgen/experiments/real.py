"""`python -m loadgen.experiments.real`: what both layers attain on this machine, with real processes from end to end.

`emulated`: unequal emulated GPUs, in stretched time. `llamacpp`: a real model on two unequal engines. On each: both layers, router
only, engine only, neither, and a router that only reacts, over lens; they take turns with the same requests.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from infra.native.system import SystemFailed
from loadgen.arguments import positive_float, positive_int
from loadgen.commands.status import FAILED, INVALID, TERMINATED
from loadgen.engines import NoSystem
from loadgen.experiments.real_fleets import started
from loadgen.experiments.real_page import figure, page
from loadgen.experiments.real_parts import BOTH, NEITHER, PARTS, TIMES_CAPACITY, Part, System
from loadgen.experiments.real_rows import RealRow
from loadgen.experiments.real_runs import Note, Plan, compare, turns
from loadgen.simulate.experiment import write_rows

ROWS, SMOKE_ROWS, FULL_ROWS = (Path(f"runs/exp-real{extent}.jsonl") for extent in ("", "-smoke", "-full"))
FULL_PAGE = Path("docs/results/real.md")
"""Others are beside their rows."""
FULL_SEEDS, SEEDS = 5, 1
SMOKE_DURATION_S, SMOKE_ENGINES, SMOKED = 2.0, 2, (BOTH, NEITHER)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, write rows, page and figure; returns the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that no fleet is left behind
    console = Console()
    to = options.rows or (SMOKE_ROWS if options.smoke else FULL_ROWS if options.full else ROWS)
    parts = list(_parts(options))
    rows = _kept(to, parts, _seeds(options), resume=options.resume)
    write_rows(rows, to)

    def note(row: RealRow) -> None:
        rows.append(row)
        write_rows([row], to, append=True)
        console.print(_told(row), highlight=False)

    try:
        for part in parts:
            _measure(part, _systems(part, options), _plan(options), rows, console, note)
    except (NoSystem, SystemFailed) as error:
        console.print(str(error), style="red", markup=False)
        return FAILED
    page_path = options.page or (FULL_PAGE if options.full else to.with_suffix(".md"))
    _write_page(rows, page_path)
    console.print(f"rows: {to}\npage: {page_path}", markup=False, highlight=False, soft_wrap=True)
    return _status(rows, console)


def _measure(
    part: Part, systems: Sequence[System], plan: Plan, rows: Sequence[RealRow], console: Console, note: Note
) -> None:
    """What is not known yet; at the rates of what is known."""
    known = {row.key: row for row in rows if row.system == part.name}
    missing = [turn for turn in turns(systems, plan) if turn.key_on(part) not in known]
    if not missing:
        return
    if known:
        row = next(iter(known.values()))
        part = part._replace(capacity_per_s=row.rate_per_s / row.times_capacity)
    with started(part, systems) as addresses:
        asyncio.run(compare(part, addresses, missing, plan, console, note))


def _write_page(rows: Sequence[RealRow], to: Path) -> None:
    drawing = to.with_suffix(".svg")
    to.parent.mkdir(parents=True, exist_ok=True)
    drawing.write_text(figure(rows, PARTS))
    to.write_text(page(rows, PARTS, drawing.name))


def _kept(path: Path, parts: Sequence[Part], seeds: Sequence[int], *, resume: bool) -> list[RealRow]:
    """What is in the file of parts that are not measured now; to go on, also of these seeds."""
    lines = path.read_bytes().splitlines() if path.exists() else ()
    rows = (msgspec.json.decode(line, type=RealRow) for line in lines)
    measured = {part.name for part in parts}
    return [row for row in rows if row.system not in measured or (resume and row.seed in seeds)]


def _status(rows: Sequence[RealRow], console: Console) -> int:
    if spoiled := [row for row in rows if row.overloads]:
        told = f"{len(spoiled)} of {len(rows)} runs, the first: {spoiled[0].overloads[0]}"
        console.print(f"INVALID: the machine was overloaded in {told}", style="red", markup=False)
        return INVALID
    return FAILED if any(row.failed for row in rows) else 0


def _told(row: RealRow) -> str:
    where = f"{row.system}, {row.times_capacity:g} times capacity, seed {row.seed}{', again' if row.again else ''}"
    return f"{where}, {row.layers}: {row.attainment:.0%} of {row.offered}"


def _seeds(options: argparse.Namespace) -> Sequence[int]:
    return range(1 if options.smoke else options.seeds or (FULL_SEEDS if options.full else SEEDS))


def _plan(options: argparse.Namespace) -> Plan:
    if options.smoke:
        return Plan(_seeds(options), TIMES_CAPACITY[:1], repeats=False, warms_up=False)
    times_capacity = TIMES_CAPACITY if options.full else TIMES_CAPACITY[-1:]
    return Plan(_seeds(options), times_capacity, repeats=options.full, capacity_seeds=2 if options.full else 1)


def _parts(options: argparse.Namespace) -> Iterator[Part]:
    for part in PARTS[:1] if options.smoke else PARTS:
        if options.only not in (None, part.name):
            continue
        capacity_per_s: float | None = getattr(options, f"{part.name}_capacity")
        chosen = part._replace(capacity_per_s=capacity_per_s or part.capacity_per_s)
        if options.smoke:
            load = part.load._replace(duration_s=SMOKE_DURATION_S)
            chosen = chosen._replace(
                load=load, profiles=part.profiles[:SMOKE_ENGINES], capacity_per_s=part.rates_per_s[0]
            )
        yield chosen


def _systems(part: Part, options: argparse.Namespace) -> Sequence[System]:
    return [system for system in part.systems if not options.smoke or system.name in SMOKED]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadgen.experiments.real", description=__doc__)
    names = [part.name for part in PARTS]
    parser.add_argument("--only", choices=names, help="one part, and keep what is known of the other; both")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--smoke", action="store_true", help="two systems, a short run each")
    extent.add_argument("--full", action="store_true", help=f"more seeds, some runs twice; page: {FULL_PAGE}")
    parser.add_argument("--seeds", type=positive_int, help=f"{SEEDS}, or {FULL_SEEDS} with --full")
    for part in PARTS:
        known = "measured first" if part.capacity_per_s is None else f"{part.capacity_per_s:g}"
        parser.add_argument(
            f"--{part.name}-capacity", type=positive_float, metavar="PER_S", help=f"requests/s; {known}"
        )
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run of these seeds has found")
    parser.add_argument("--rows", type=Path, help=f"{ROWS}, {SMOKE_ROWS} or {FULL_ROWS}")
    parser.add_argument("--page", type=Path, help="with its figure beside it; by default beside the rows")
    return parser


if __name__ == "__main__":
    sys.exit(main())
