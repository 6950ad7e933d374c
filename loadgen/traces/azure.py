"""Azure LLM inference traces (CSV): an instant, tokens in, tokens out."""

from datetime import UTC, datetime
from pathlib import Path

from loadgen.traces.request import TraceRequest
from loadgen.traces.table import Row, read_rows

FIELDS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def read(path: Path) -> tuple[TraceRequest, ...]:
    """The requests, in the order of the file.

    Raises:
        BadTrace: the file, a line or a field is wrong.
    """
    return tuple(
        TraceRequest(_instant_s(row), row.tokens("ContextTokens"), row.tokens("GeneratedTokens"))
        for row in read_rows(path, FIELDS)
    )


def _instant_s(row: Row) -> float:
    """Of `2023-11-16 18:15:46.6805900`: the seventh digit, more than a datetime holds, is left out."""
    cell = row.text("TIMESTAMP")
    try:
        at = datetime.fromisoformat(cell)
    except ValueError:
        raise row.bad("TIMESTAMP", f"{cell!r} is not an instant") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
