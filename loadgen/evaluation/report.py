"""The evaluation's results: a line of JSON each, and a table a log."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import msgspec
from rich.table import Table

from loadgen.evaluation.scores import Scores

NOTHING = "–"


class Result(Scores, frozen=True, kw_only=True):
    """One estimator on one log."""

    log: str
    estimator: str
    learn_us: float
    predict_us: float
    recovery_steps: int | None


KEYS = (
    *("log", "estimator", "steps", "mape", "mape_decode", "mape_mixed", "mape_h50", "r2"),
    *("coverage90", "coverage90_decode", "coverage90_mixed", "width90_ms", "mape_first200"),
    *("learn_us", "predict_us", "recovery_steps"),
)
"""Of a line, in order."""


def write_lines(results: Iterable[Result], path: Path) -> None:
    """One JSON object a line, in a folder that is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [msgspec.json.encode({key: getattr(result, key) for key in KEYS}) for result in results]
    path.write_bytes(b"\n".join(lines) + b"\n")


def tables(results: Sequence[Result], slowdown: float) -> Iterator[Table]:
    """A table a log, a row an estimator."""
    for log, members in groupby(results, key=lambda result: result.log):
        rows = list(members)
        made = Table(title=f"{log}, {rows[0].steps:,} steps", title_justify="left", title_style="bold")
        made.add_column("estimator")
        for name in (
            *("MAPE %", "decode / mixed", "50 ahead", "first 200", "R²", "in 90 %", "decode / mixed", "width ms"),
            *("learn µs", "predict µs", f"recovers ×{slowdown:g}"),
        ):
            made.add_column(name, justify="right")
        for result in rows:
            made.add_row(*_cells(result))
        yield made


def _cells(result: Result) -> tuple[str, ...]:
    return (
        result.estimator,
        _percent(result.mape, 2),
        f"{_percent(result.mape_decode, 2)} / {_percent(result.mape_mixed, 2)}",
        _percent(result.mape_h50, 2),
        _percent(result.mape_first200, 2),
        NOTHING if result.r2 is None else f"{result.r2:.4f}",
        _percent(result.coverage90, 1),
        f"{_percent(result.coverage90_decode, 1)} / {_percent(result.coverage90_mixed, 1)}",
        NOTHING if result.width90_ms is None else f"{result.width90_ms:.2f}",
        f"{result.learn_us:,.0f}",
        f"{result.predict_us:.2f}",
        NOTHING if result.recovery_steps is None else str(result.recovery_steps),
    )


def _percent(fraction: float | None, decimals: int) -> str:
    return NOTHING if fraction is None else f"{100.0 * fraction:.{decimals}f}"
