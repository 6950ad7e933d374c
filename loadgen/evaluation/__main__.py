"""`python -m loadgen.evaluation LOG…`: judge step-time models on step logs of real engines, and report."""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from loadgen.evaluation.estimators import ESTIMATORS
from loadgen.evaluation.judge import judge
from loadgen.evaluation.report import tables, write_lines
from loadgen.steplog import BadStepLog, LoggedStep, read_steps

PLAIN_COLUMNS = 160


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge, print, write; returns the exit status, 2 for a log that cannot be read."""
    options = _parser().parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console.width = PLAIN_COLUMNS
    try:
        logs = _read(options.logs)
    except BadStepLog as error:
        print(error, file=sys.stderr)
        return 2
    columns = (TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=2 * len(logs) * len(options.estimators))
        results = judge(logs, options.estimators, options.slowdown, lambda: bar.advance(task))
    console.print(*tables(results, options.slowdown))
    write_lines(results, options.output)
    console.print(f"Written to {options.output}.", markup=False, highlight=False)
    return 0


def _read(paths: Sequence[Path]) -> Mapping[str, Sequence[LoggedStep]]:
    """Steps by the file's name, or by its path where files of one name come from several folders.

    Raises:
        BadStepLog: one of the files is not a step log.
    """
    names = [path.name for path in paths]
    return {path.name if names.count(path.name) == 1 else str(path): read_steps(path) for path in paths}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadgen.evaluation",
        description="Puts each log's steps to each estimator in their order: predicted, then learned, from cold. Prints a "
        "table a log and writes a JSON object a line.",
    )
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="JSON lines, a line an engine step")
    parser.add_argument(
        "--estimators",
        type=_estimators,
        default=list(ESTIMATORS),
        metavar="A,B",
        help=f"some of {', '.join(ESTIMATORS)}; by default all",
    )
    parser.add_argument(
        "--slowdown",
        type=_positive,
        default=1.5,
        help="how many times longer steps become half way through, where recovery is measured (%(default)s)",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/eval-model.jsonl"), help="%(default)s")
    return parser


def _estimators(text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in ESTIMATORS]:
        raise argparse.ArgumentTypeError(f"no estimator {unknown[0]!r}; there are {', '.join(ESTIMATORS)}")
    return names


def _positive(text: str) -> float:
    if not 0.0 < (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
