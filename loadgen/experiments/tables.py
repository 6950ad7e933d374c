"""Rows of an experiment as a table of its page. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from loadgen.reliability import BINS, Reliability
from loadgen.simulate.rows import Row

NOTHING = "–"
OURS = "synergy"
PLAIN, RELEGATING, TRIAGING = "", "-relegating", "-triaging"
"""The kinds of fixed budgets, by the ends of their planners' names."""
_LETTERS = {RELEGATING: "r", TRIAGING: "t"}


class Measure(NamedTuple):
    """What a table tells of a row."""

    tell: Callable[[Row], str]
    """Without the interval."""
    worth: Callable[[Row], float | None]
    """The most of a line is bold, unless all are worth the same; None never is."""
    interval: Callable[[Row], str] = lambda _row: ""


ATTAINMENT = Measure(
    tell=lambda row: f"{100 * row.attainment:.0f}",
    worth=lambda row: row.attainment,
    interval=lambda row: "" if row.attainment_ci95 is None else f" ± {100 * row.attainment_ci95:.0f}",
)
"""In %."""


def table(rows: Sequence[Row], names: Sequence[str], measure: Measure = ATTAINMENT) -> Iterator[str]:
    """A line a load, a column a name."""
    columns = tuple(dict.fromkeys(names))
    yield f"\n| requests/s | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n"
    loads = dict.fromkeys((row.workload, row.rate) for row in rows)
    by_place = {(row.workload, row.rate, name): row for row, name in zip(rows, names, strict=True)}
    for workload, rate in loads:
        of_load = [by_place.get((workload, rate, column)) for column in columns]
        worths = [worth for row in of_load if row is not None and (worth := measure.worth(row)) is not None]
        best = max(worths) if len(set(worths)) > 1 or len(worths) == 1 else None
        cells = (NOTHING if row is None else _cell(row, measure, best) for row in of_load)
        yield f"| {workload} {rate:g} | {' | '.join(cells)} |\n"


def _cell(row: Row, measure: Measure, best: float | None) -> str:
    told = measure.tell(row)
    is_best = best is not None and measure.worth(row) == best
    return f"{f'**{told}**' if is_best else told}{measure.interval(row)}"


def attained_by(rows: Sequence[Row], name: Callable[[Row], str]) -> Mapping[tuple[str, float], Mapping[str, float]]:
    """Attainment by load, and by what is compared there."""
    found: dict[tuple[str, float], dict[str, float]] = {}
    for row in rows:
        found.setdefault((row.workload, row.rate), {})[name(row)] = row.attainment
    return found


def number(value: float | None, unit: float, digits: int) -> str:
    """A dash where there is none."""
    return NOTHING if value is None else f"{unit * value:.{digits}f}"


def reliability_table(chances: Reliability) -> Iterator[str]:
    """A line a tenth of chance that has requests."""
    yield "\n| chance % | requests | foreseen on average % | kept % |\n|---|---|---|---|\n"
    for tenth, each in chances.bins.items():
        told = f"{100 * tenth // BINS} to {100 * (tenth + 1) // BINS}"
        yield f"| {told} | {each.count:,} | {100 * each.foreseen:.1f} | {100 * each.kept:.1f} |\n"


def short(planner: str) -> str:
    """`static-512-relegating` as r512, `static-512-triaging` as t512."""
    budget = planner.removeprefix("static-")
    for rule, letter in _LETTERS.items():
        if budget.endswith(rule):
            return letter + budget.removesuffix(rule)
    return budget


def is_fixed(planner: str, kind: str) -> bool:
    """Whether it is a fixed budget of this kind."""
    return planner.startswith("static-") and planner.removeprefix("static-").lstrip("0123456789") == kind


def best_of(attained: Mapping[str, float], kind: str) -> str:
    """The planner with the best of all fixed budgets of a kind."""
    return max((planner for planner in attained if is_fixed(planner, kind)), key=lambda planner: attained[planner])
