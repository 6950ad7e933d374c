"""The capacity of a workload: the highest rate at which the best policy that reacts attains its share, searched by halving."""

from collections.abc import Callable, Sequence

from rich.console import Console

from loadgen.experiments.prism_loads import Line, Workload
from loadgen.goodput import Goodput, Measured, search_goodput
from loadgen.simulate.experiment import Cell, run_cells

TARGET = 0.9
WITHIN = 1.5
"""No rate is tried that is so many times more, or less, than the capacity known so far."""
TOLERANCE = 0.04
MOST_RATES = 8
GO_ON = 4
"""Policies that are tried at other rates than the first: the best there."""


def find_capacity(
    workload: Workload, cells: Callable[[Line], Sequence[Cell]], seeds: Sequence[int], console: Console
) -> Goodput:
    """The search for it, which tells of each rate.

    Args:
        cells: those that are tried at a load.
        seeds: others than an experiment's, which are not to be told by what they themselves attain.
    """
    known_per_s = workload.capacity_per_s
    search = search_goodput(
        known_per_s,
        lowest_per_s=known_per_s / WITHIN,
        highest_per_s=known_per_s * WITHIN,
        target=TARGET,
        tolerance=TOLERANCE,
        most_rates=MOST_RATES,
    )
    rate_per_s = next(search)
    going_on: set[str] | None = None
    while True:
        of_rate = cells(Line(workload._replace(capacity_per_s=rate_per_s), 1.0))
        tried = [cell for cell in of_rate if going_on is None or cell.scenario.policy in going_on]
        rows = sorted(run_cells(tried, seeds, console), key=lambda row: -row.attainment)
        best = rows[0]
        going_on = going_on or {row.router_policy for row in rows[:GO_ON]}
        told = f"{workload.name} {rate_per_s:.4g}/s: {best.attainment:.1%} by {best.router_policy}"
        console.print(told, markup=False, highlight=False)
        try:
            rate_per_s = search.send(Measured((best.attainment,)))
        except StopIteration as found:
            goodput: Goodput = found.value
            return goodput
