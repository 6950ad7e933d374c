"""Rows as a table for people."""

from collections.abc import Sequence

from rich.table import Table

from loadgen.simulate.rows import Row

COLUMNS = (
    "attained %",
    "goodput",
    "TTFT p50 s",
    "p99 s",
    "TPOT p50 ms",
    "p99 ms",
    "E2E p50 s",
    "tokens/s",
    "refused %",
)


def rows_table(rows: Sequence[Row]) -> Table:
    """A line a row, of one load."""
    table = Table(title=f"simulated: {rows[0].workload}, {rows[0].rate:g} requests/s")
    for column in ("planner", "policy"):
        table.add_column(column, no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.engine_policy,
            row.router_policy,
            percent(row.attainment, row.attainment_ci95),
            f"{row.goodput:.2f}",
            *(_number(value, 1.0, 2) for value in (row.ttft_p50_s, row.ttft_p99_s)),
            *(_number(value, 1e3, 1) for value in (row.tpot_p50_s, row.tpot_p99_s)),
            _number(row.e2e_p50_s, 1.0, 2),
            f"{row.tokens_per_s:.0f}",
            f"{100 * row.refused:.1f}",
        )
    return table


def percent(fraction: float, ci95: float | None) -> str:
    """With its 95 % interval, where there is one."""
    return f"{100 * fraction:.1f}" if ci95 is None else f"{100 * fraction:.1f} ± {100 * ci95:.1f}"


def _number(value: float | None, unit: float, digits: int) -> str:
    return "–" if value is None else f"{unit * value:.{digits}f}"
