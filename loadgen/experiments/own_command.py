"""The command of an experiment whose rows are of its own kind: how much is run, and where rows, page and figures go."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from loadgen.arguments import positive_int
from loadgen.experiments.comparison import RESULTS, RUNS, SEEDS, Extent
from loadgen.traces import BadTrace


class Asked(NamedTuple):
    """What the command line wants."""

    traces: Path
    """The folder of their CSV files."""
    extent: Extent
    seeds: Sequence[int]
    rows: Path
    resume: bool
    """Whether what is in the file of rows already is taken from there."""


class Illustrated(NamedTuple):
    """What is told of the rows: a page with as many figures as it needs."""

    text: str
    """Markdown."""
    figures: Mapping[str, str]
    """SVG, by the name under which it is beside the text."""


class Experiment(NamedTuple):
    """What is run, and how it is called."""

    name: str
    """Of the command, the rows and the page."""
    about: str
    run: Callable[[Asked, Console], Illustrated]
    """Runs and writes the rows. Raises BadTrace of the traces."""


def command(experiment: Experiment, arguments: Sequence[str] | None = None) -> int:
    """Do what is asked; returns the exit status."""
    name = experiment.name
    parser = argparse.ArgumentParser(prog=f"python -m loadgen.experiments.{name}", description=experiment.about)
    parser.add_argument("traces", type=Path, help="a folder with the traces' CSV files")
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--smoke", action="store_true", help="short runs of few loads, to see that it runs")
    how_much.add_argument("--full", action="store_true", help=f"as many seeds as the documents have; page in {RESULTS}")
    seeds = ", ".join(f"{count} ({extent})" for extent, count in SEEDS.items())
    parser.add_argument("--seeds", type=positive_int, help=seeds)
    parser.add_argument("--resume", action="store_true", help="keep what an earlier run of the same seeds has found")
    parser.add_argument("--rows", type=Path, help=f"{RUNS}/exp-{name}[-smoke|-full].jsonl")
    parser.add_argument("--page", type=Path, help="beside the rows, or in the documents; figures are beside it")
    options = parser.parse_args(arguments)
    extent = Extent.SMOKE if options.smoke else Extent.FULL if options.full else Extent.QUICK
    stem = f"exp-{name}" if extent is Extent.QUICK else f"exp-{name}-{extent}"
    rows_path = options.rows or RUNS / f"{stem}.jsonl"
    page_path = options.page or (RESULTS / f"{name}.md" if extent is Extent.FULL else rows_path.with_suffix(".md"))
    console = Console()
    asked = Asked(options.traces, extent, range(options.seeds or SEEDS[extent]), rows_path, options.resume)
    try:
        told = experiment.run(asked, console)
    except BadTrace as error:
        console.print(str(error), style="red", markup=False)
        return 2
    page_path.parent.mkdir(parents=True, exist_ok=True)
    page_path.write_text(told.text)
    for figure, drawing in told.figures.items():
        page_path.with_name(figure).write_text(drawing)
    console.print(f"rows: {rows_path}\npage: {page_path}", markup=False, highlight=False, soft_wrap=True)
    return 0
