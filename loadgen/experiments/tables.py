"""Rows of an experiment as a table of its page. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from loadgen.simulate.rows import Row

NOTHING = "–"
OURS = "synergy"
PLAIN, RELEGATING, TRIAGING = "", "-relegating", "-triaging"
"""The kinds of fixed budgets, by the ends of their planners' names."""
_LETTERS = {RELEGATING: "r", TRIAGING: "t"}


def table(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    """A line a load, a column a name; the best of a line is bold."""
    columns = tuple(dict.fromkeys(names))
    yield f"\n| requests/s | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n"
    loads = dict.fromkeys((row.workload, row.rate) for row in rows)
    by_place = {(row.workload, row.rate, name): row for row, name in zip(rows, names, strict=True)}
    for workload, rate in loads:
        of_load = [by_place.get((workload, rate, column)) for column in columns]
        best = max(row.attainment for row in of_load if row is not None)
        cells = (NOTHING if row is None else _cell(row, is_best=row.attainment == best) for row in of_load)
        yield f"| {workload} {rate:g} | {' | '.join(cells)} |\n"


def _cell(row: Row, *, is_best: bool) -> str:
    mean = f"{100 * row.attainment:.0f}"
    interval = "" if row.attainment_ci95 is None else f" ± {100 * row.attainment_ci95:.0f}"
    return f"{f'**{mean}**' if is_best else mean}{interval}"


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
