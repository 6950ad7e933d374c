"""Scenarios over loads and seeds, several at a time in processes of their own, and the file of their rows."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from loadgen.simulate.rows import Row, RunScore, row_of, score_run
from loadgen.simulate.run import Scenario, simulate
from loadgen.workload import Request

Draw = Callable[[int], Sequence[Request]]
"""The requests of a seed; picklable."""


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


def run_cells(cells: Sequence[Cell], seeds: Sequence[int], console: Console) -> list[Row]:
    """The rows, in the order of the cells; each seed of each is a task for one core.

    Raises:
        BadTrace, ImpossibleLoad: of a load that cannot be drawn.
    """
    for cell in cells:
        # Here, where a mistake can be told; and what was read for it, the processes have from the start.
        cell.draw(seeds[0])
    if len(cells) * len(seeds) == 1:
        return [cells[0].row([run_watched(cells[0], seeds[0], console)])]
    scores: dict[tuple[int, int], RunScore] = {}
    with _bar(console) as bar, ProcessPoolExecutor(cores()) as pool:
        task = bar.add_task("runs", total=len(cells) * len(seeds))
        places = {pool.submit(run_cell, cell, seed): (n, seed) for n, cell in enumerate(cells) for seed in seeds}
        for future in as_completed(places):
            scores[places[future]] = future.result()
            bar.advance(task)
    return [cell.row([scores[number, seed] for seed in seeds]) for number, cell in enumerate(cells)]


def run_watched(cell: Cell, seed: int, console: Console) -> RunScore:
    """One run in this process, with a bar of its requests."""
    requests = cell.draw(seed)
    with _bar(console) as bar:
        task = bar.add_task("requests", total=len(requests))
        return score_run(seed, simulate(cell.scenario, requests, seed, note=lambda _outcome: bar.advance(task)))


def run_cell(cell: Cell, seed: int) -> RunScore:
    """One run."""
    return score_run(seed, simulate(cell.scenario, cell.draw(seed), seed))


def write_rows(rows: Iterable[Row], path: Path, *, append: bool = False) -> None:
    """A row a line, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab" if append else "wb") as file:
        file.writelines(msgspec.json.encode(row) + b"\n" for row in rows)


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)
