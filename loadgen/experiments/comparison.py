"""Systems compared over loads in the fleet simulator: the command of the experiments that are no more than that."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from loadgen.arguments import positive_float, positive_int
from loadgen.experiments.document import Document
from loadgen.experiments.rates import Search, tell_rate
from loadgen.experiments.resuming import run_resumable
from loadgen.simulate.experiment import Cell
from loadgen.simulate.rows import Row
from loadgen.simulate.run import ORACLE
from loadgen.traces import BadTrace
from services.prism.policies import POLICIES

RUNS, RESULTS = Path("runs"), Path("docs/results")
SEARCH_SEEDS = range(100, 101)
"""Others than any experiment's."""


class Extent(StrEnum):
    """How much is run."""

    SMOKE = "smoke"
    """A minute's worth, to see that it runs."""
    QUICK = "quick"
    """Some minutes: figures with wide intervals."""
    FULL = "full"
    """What the documents are made of."""


SEEDS: Mapping[Extent, int] = {Extent.SMOKE: 2, Extent.QUICK: 2, Extent.FULL: 5}


class Load(NamedTuple):
    """What all runs have in common."""

    traces: Path
    """The folder of their CSV files."""
    arriving_s: float
    """For how long requests arrive."""


class Comparison(NamedTuple):
    """An experiment."""

    name: str
    """Of the command, the rows and the page."""
    about: str
    arriving_s: Mapping[Extent, float]
    cells: Callable[[Load, Extent], Sequence[Cell]]
    document: Callable[[Sequence[Row], Load], Document]
    searches: Callable[[Load], Mapping[str, Search]]
    """For the rates that its loads are made of."""


def command(comparison: Comparison, arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    options = _parser(comparison).parse_args(arguments)
    extent = Extent.SMOKE if options.smoke else Extent.FULL if options.full else Extent.QUICK
    load = Load(options.traces, options.seconds or comparison.arriving_s[extent])
    console = Console()
    try:
        if options.find_rate:
            _find(comparison, options, console)
        else:
            _run(comparison, extent, load, options, console)
    except BadTrace as error:
        console.print(str(error), style="red", markup=False)
        return 2
    return 0


def _run(comparison: Comparison, extent: Extent, load: Load, options: argparse.Namespace, console: Console) -> None:
    seeds = range(options.seeds or SEEDS[extent])
    stem = f"exp-{comparison.name}" if extent is Extent.QUICK else f"exp-{comparison.name}-{extent}"
    rows_path = options.rows or RUNS / f"{stem}.jsonl"
    in_documents = extent is Extent.FULL
    page_path = options.page or (RESULTS / f"{comparison.name}.md" if in_documents else RUNS / f"{stem}.md")
    planned = comparison.cells(load, extent)
    rows = run_resumable(planned, seeds, rows_path, console, resume=options.resume, anew=options.anew)
    document = comparison.document(rows, load)
    page_path.parent.mkdir(parents=True, exist_ok=True)
    page_path.write_text(document.text)
    page_path.with_name(f"{comparison.name}.svg").write_text(document.figure)
    console.print(f"rows: {rows_path}\npage: {page_path}", markup=False, highlight=False, soft_wrap=True)


def _find(comparison: Comparison, options: argparse.Namespace, console: Console) -> None:
    load = Load(options.traces, options.seconds or comparison.arriving_s[Extent.FULL])
    seeds = range(SEARCH_SEEDS.start, SEARCH_SEEDS.start + (options.seeds or len(SEARCH_SEEDS)))
    searches = comparison.searches(load)
    for name in searches if "all" in options.find_rate else options.find_rate:
        tell_rate(name, searches[name], seeds, console)


def _parser(comparison: Comparison) -> argparse.ArgumentParser:
    nowhere = Load(Path(), comparison.arriving_s[Extent.FULL])
    parser = argparse.ArgumentParser(
        prog=f"python -m loadgen.experiments.{comparison.name.replace('-', '_')}", description=comparison.about
    )
    parser.add_argument("traces", type=Path, help="a folder with the traces' CSV files")
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--smoke", action="store_true", help="short runs of few loads, to see that it runs")
    extent.add_argument("--full", action="store_true", help=f"all loads, for as long as it takes; page in {RESULTS}")
    seeds = ", ".join(f"{count} ({each})" for each, count in SEEDS.items())
    parser.add_argument("--seeds", type=positive_int, help=seeds)
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run of the same seeds has found")
    parser.add_argument(
        "--anew",
        action="append",
        default=[],
        choices=(*POLICIES, ORACLE),
        metavar="POLICY",
        help="but not of this policy, which has changed since; repeatable",
    )
    seconds = ", ".join(f"{length_s:g} ({each})" for each, length_s in comparison.arriving_s.items())
    parser.add_argument("--seconds", type=positive_float, help=f"for which requests arrive; {seconds}")
    parser.add_argument("--rows", type=Path, help=f"{RUNS}/exp-{comparison.name}[-smoke|-full].jsonl")
    parser.add_argument("--page", type=Path, help="beside the rows, or in the documents")
    parser.add_argument(
        "--find-rate",
        choices=("all", *comparison.searches(nowhere)),
        action="append",
        help="instead of all this, look for a rate that the loads are made of, with another seed; repeatable",
    )
    return parser
