"""Rows of an experiment as a table of its page. Pure."""

from collections.abc import Iterator, Sequence

from loadgen.simulate.rows import Row

_LETTERS = {"-relegating": "r", "-triaging": "t"}


def table(rows: Sequence[Row], names: Sequence[str]) -> Iterator[str]:
    """A line a load, a column a name; the best of a line is bold."""
    columns = tuple(dict.fromkeys(names))
    yield f"\n| requests/s | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n"
    loads = dict.fromkeys((row.workload, row.rate) for row in rows)
    by_place = {(row.workload, row.rate, name): row for row, name in zip(rows, names, strict=True)}
    for workload, rate in loads:
        of_load = [by_place[workload, rate, column] for column in columns]
        best = max(row.attainment for row in of_load)
        cells = (_cell(row, is_best=row.attainment == best) for row in of_load)
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
