"""Cells whose rows are kept as soon as they are known, so that a run that was broken off goes on where it was."""

from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec
from rich.console import Console

from loadgen.simulate.experiment import Cell, run_cells, write_rows
from loadgen.simulate.rows import Row

Key = tuple[str, float, str, str]


def run_resumable(
    planned: Sequence[Cell],
    seeds: Sequence[int],
    rows_path: Path,
    console: Console,
    *,
    resume: bool,
    anew: Collection[str] = (),
) -> Sequence[Row]:
    """The rows of the cells in their order; each is written as soon as it is known.

    Args:
        resume: whether what is in the file already is taken from there.
        anew: router policies of which it is not.
    """
    kept = _known(rows_path, seeds) if resume else {}
    known = {key: row for key, row in kept.items() if row.router_policy not in anew}
    write_rows(known.values(), rows_path)
    missing = [cell for cell in planned if _key(cell) not in known]
    if missing:
        rows = run_cells(missing, seeds, console, note=lambda row: write_rows([row], rows_path, append=True))
        known |= {_key_of(row): row for row in rows}
    in_order = [known[_key(cell)] for cell in planned]
    write_rows(in_order, rows_path)
    return in_order


def _key(cell: Cell) -> Key:
    return cell.workload, cell.rate, cell.scenario.planner, cell.scenario.policy


def _key_of(row: Row) -> Key:
    return row.workload, row.rate, row.engine_policy, row.router_policy


def _known(path: Path, seeds: Sequence[int]) -> dict[Key, Row]:
    lines = path.read_bytes().splitlines() if path.exists() else ()
    rows = (msgspec.json.decode(line, type=Row) for line in lines)
    return {_key_of(row): row for row in rows if row.seeds == tuple(seeds)}
