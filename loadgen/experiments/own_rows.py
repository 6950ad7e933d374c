"""Runs whose rows are of an experiment's own kind: kept as soon as they are known, so that what was broken off goes on where it was."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console

from loadgen.simulate.experiment import Cell, in_processes, write_rows

Key = tuple[str, float, str]


class OwnRow(msgspec.Struct, frozen=True, kw_only=True):
    """What all of them have: a router policy at a load, over seeds."""

    workload: str
    rate: float
    """Requests offered a second."""
    policy: str
    seeds: tuple[int, ...]
    simulated: bool = True

    @property
    def key(self) -> Key:
        """What it is known by, among those of the same seeds."""
        return self.workload, self.rate, self.policy


Found = TypeVar("Found")
"""In one run."""
RowT = TypeVar("RowT", bound=OwnRow)


def key_of(cell: Cell) -> Key:
    """What its row is known by."""
    return cell.workload, cell.rate, cell.scenario.policy


def run_own(
    planned: Sequence[Cell],
    seeds: Sequence[int],
    run: Callable[[Cell, int], Found],
    row: Callable[[Cell, Sequence[Found]], RowT],
    row_type: type[RowT],
    path: Path,
    console: Console,
    *,
    resume: bool,
) -> Sequence[RowT]:
    """The rows of the cells in their order, which are also written.

    Args:
        run: one seed of one of them; it can be pickled, and is a task for one core.
        row: what its seeds, in order, amount to.
        path: of the rows.
        resume: whether what is in the file already is taken from there.

    Raises:
        BadTrace, ImpossibleLoad: of a load that cannot be drawn.
    """
    known = _known(path, seeds, row_type) if resume else {}
    missing = [cell for cell in planned if key_of(cell) not in known]
    for draw in {(cell.workload, cell.rate): cell.draw for cell in missing}.values():
        # Here, where a mistake can be told; and what was read for it, the processes have from the start.
        draw(seeds[0])
    write_rows(known.values(), path)
    runs = [(cell, seed) for cell in missing for seed in seeds]
    found: dict[Key, dict[int, Found]] = {}
    for place, of_seed in in_processes([partial(run, *each) for each in runs], console):
        cell, seed = runs[place]
        of_cell = found.setdefault(key_of(cell), {})
        of_cell[seed] = of_seed
        if len(of_cell) == len(seeds):
            known[key_of(cell)] = row(cell, [of_cell[each] for each in seeds])
            write_rows([known[key_of(cell)]], path, append=True)
    in_order = [known[key_of(cell)] for cell in planned]
    write_rows(in_order, path)
    return in_order


def _known(path: Path, seeds: Sequence[int], row_type: type[RowT]) -> dict[Key, RowT]:
    lines = path.read_bytes().splitlines() if path.exists() else ()
    rows = (msgspec.json.decode(line, type=row_type) for line in lines)
    return {row.key: row for row in rows if row.seeds == tuple(seeds)}
