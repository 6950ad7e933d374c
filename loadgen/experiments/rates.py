"""The rate at which the best of some systems attains a share, such as a workload's capacity: searched by halving."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.console import Console

from loadgen.goodput import Goodput, Measured, search_goodput
from loadgen.simulate.experiment import Cell, run_cells
from loadgen.simulate.rows import Row

TARGET = 0.9
WITHIN = 1.5
"""No rate is tried that is so many times more, or less, than the one known so far."""
TOLERANCE = 0.04
MOST_RATES = 8
GO_ON = 4
"""Systems that are tried at other rates than the first: the best there."""


def joint(row: Row) -> float:
    """What counts unless told: the targets met."""
    return row.attainment


class Search(NamedTuple):
    """What is looked for."""

    known_per_s: float
    """The rate as known so far."""
    cells: Callable[[float], Sequence[Cell]]
    """The systems that are tried at a rate."""
    target: float = TARGET
    worth: Callable[[Row], float] = joint


def find_rate(name: str, search: Search, seeds: Sequence[int], console: Console) -> Goodput:
    """The search, which tells of each rate and who is best there.

    Args:
        seeds: others than an experiment's, which are not to be told by what they themselves attain.
    """
    rates = search_goodput(
        search.known_per_s,
        lowest_per_s=search.known_per_s / WITHIN,
        highest_per_s=search.known_per_s * WITHIN,
        target=search.target,
        tolerance=TOLERANCE,
        most_rates=MOST_RATES,
    )
    rate_per_s = next(rates)
    going_on: set[tuple[str, str]] | None = None
    while True:
        tried = [cell for cell in search.cells(rate_per_s) if going_on is None or _system(cell) in going_on]
        rows = sorted(run_cells(tried, seeds, console), key=lambda row: -search.worth(row))
        best = rows[:GO_ON]
        going_on = going_on or {(row.engine_policy, row.router_policy) for row in best}
        told = ", ".join(f"{search.worth(row):.1%} by {row.router_policy} over {row.engine_policy}" for row in best)
        console.print(f"{name} {rate_per_s:.4g}/s: {told}", markup=False, highlight=False, soft_wrap=True)
        try:
            rate_per_s = rates.send(Measured((search.worth(best[0]),)))
        except StopIteration as found:
            goodput: Goodput = found.value
            return goodput


def tell_rate(name: str, search: Search, seeds: Sequence[int], console: Console) -> None:
    """Search, and say what was found."""
    found = find_rate(name, search, seeds, console)
    told = "none" if found.rate_per_s is None else f"{found.rate_per_s:.4g} requests/s"
    console.print(f"{name}: {told}; {found.reason}", markup=False, highlight=False)


def _system(cell: Cell) -> tuple[str, str]:
    return cell.scenario.planner, cell.scenario.policy
