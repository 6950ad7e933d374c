"""Scenarios over loads and seeds, several at a time in processes of their own, and the file of their rows."""

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loadgen.simulate.rows import Row, RunScore, row_of, score_run
from loadgen.simulate.run import Scenario, simulate
from loadgen.workload import Request

T = TypeVar("T")
Draw = Callable[[int], Sequence[Request]]
"""The requests of a seed; picklable."""
PLAIN_LINES = 20
"""Of progress, where there is no terminal to show a bar on."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One row to be: a load under a scenario."""

    workload: str
    rate: float
    draw: Draw
    scenario: Scenario
    engine_policy: str | None = None
    """What the row calls it; None: the planner's name."""

    def row(self, runs: Sequence[RunScore]) -> Row:
        """The row that its runs make."""
        scenario = self.scenario
        return row_of(self.workload, self.rate, self.engine_policy or scenario.planner, scenario.policy, runs)


def run_cells(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    console: Console,
    *,
    note: Callable[[Row], None] = lambda _row: None,
) -> list[Row]:
    """The rows, in the order of the cells; each seed of each is a task for one core.

    Args:
        note: called with each row as soon as it is known.

    Raises:
        BadTrace, ImpossibleLoad: of a load that cannot be drawn.
    """
    for draw in {(cell.workload, cell.rate): cell.draw for cell in cells}.values():
        # Here, where a mistake can be told; and what was read for it, the processes have from the start.
        draw(seeds[0])
    if len(cells) * len(seeds) == 1:
        row = cells[0].row([run_watched(cells[0], seeds[0], console)])
        note(row)
        return [row]
    scores: dict[int, dict[int, RunScore]] = {number: {} for number in range(len(cells))}
    rows: dict[int, Row] = {}
    runs = [(number, seed) for number in range(len(cells)) for seed in seeds]
    for place, score in in_processes([partial(run_cell, cells[number], seed) for number, seed in runs], console):
        number, seed = runs[place]
        scores[number][seed] = score
        if len(scores[number]) == len(seeds):
            rows[number] = cells[number].row([scores[number][seed] for seed in seeds])
            note(rows[number])
    return [rows[number] for number in range(len(cells))]


def in_processes(tasks: Sequence[Callable[[], T]], console: Console) -> Iterator[tuple[int, T]]:
    """The place of each task and what it returned, as they end; each is for one core, and can be pickled."""
    # What has been read for them already is theirs too, and nothing that a collection would free.
    with _runs(console, len(tasks)) as advance, ProcessPoolExecutor(cores(), initializer=gc.freeze) as pool:
        places = {pool.submit(task): place for place, task in enumerate(tasks)}
        try:
            for future in as_completed(places):
                result = future.result()
                advance()
                yield places[future], result
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run_watched(cell: Cell, seed: int, console: Console) -> RunScore:
    """One run in this process, with a bar of its requests."""
    requests = cell.draw(seed)
    with _bar(console) as bar:
        task = bar.add_task("requests", total=len(requests))
        return score_run(seed, simulate(cell.scenario, requests, seed, note=lambda _outcome: bar.advance(task)))


def run_cell(cell: Cell, seed: int) -> RunScore:
    """One run."""
    return score_run(seed, simulate(cell.scenario, cell.draw(seed), seed))


def write_rows(rows: Iterable[msgspec.Struct], path: Path, *, append: bool = False) -> None:
    """A row a line, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab" if append else "wb") as file:
        file.writelines(msgspec.json.encode(row) + b"\n" for row in rows)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


@contextlib.contextmanager
def _runs(console: Console, total: int) -> Iterator[Callable[[], None]]:
    """To be told of each run that has ended: a bar on a terminal, a line now and then elsewhere."""
    began_s = time.monotonic()
    with _bar(console) as bar:
        task = bar.add_task("runs", total=total)

        def advance() -> None:
            bar.advance(task)
            done = int(bar.tasks[task].completed)
            if not console.is_terminal and done % max(1, total // PLAIN_LINES) == 0:
                console.print(f"{done}/{total} runs in {time.monotonic() - began_s:.0f} s", highlight=False)

        yield advance


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)
