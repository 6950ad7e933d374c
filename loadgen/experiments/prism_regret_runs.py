"""The regret of many runs, several at a time, kept in a file."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console

from loadgen.experiments.prism_regret import Regret, SeedRegret, regret_of, seed_regret
from loadgen.simulate.experiment import Cell, in_processes, write_rows

Key = tuple[str, float, str]


def regrets(
    cells: Sequence[Cell], seeds: Sequence[int], decisions: int, path: Path, console: Console, *, resume: bool
) -> Sequence[Regret]:
    """The regret of each cell's policy, which is also written.

    Args:
        decisions: the most that are looked into, a seed.
        resume: whether what is in the file already is taken from there.
    """
    known = dict(_known(path, seeds)) if resume else {}
    missing = [cell for cell in cells if _key(cell) not in known]
    runs = [(cell, seed) for cell in missing for seed in seeds]
    found: dict[tuple[Key, int], SeedRegret] = {}
    for place, of_seed in in_processes([partial(seed_regret, *run, decisions) for run in runs], console):
        found[_key(runs[place][0]), runs[place][1]] = of_seed
    for cell in missing:
        known[_key(cell)] = regret_of(cell, [found[_key(cell), seed] for seed in seeds])
    in_order = [known[_key(cell)] for cell in cells]
    write_rows(in_order, path)
    return in_order


def _key(cell: Cell) -> Key:
    return cell.workload, cell.rate, cell.scenario.policy


def _known(path: Path, seeds: Sequence[int]) -> Iterator[tuple[Key, Regret]]:
    for line in path.read_bytes().splitlines() if path.exists() else ():
        regret = msgspec.json.decode(line, type=Regret)
        if regret.seeds == tuple(seeds):
            yield (regret.workload, regret.rate, regret.policy), regret
