"""BurstGPT traces (CSV): seconds, tokens in and out, and a session in the later releases. Failed requests have no output."""

from pathlib import Path

from loadgen.traces.request import TraceRequest
from loadgen.traces.table import Row, read_rows

FIELDS = ("Timestamp", "Request tokens", "Response tokens")
SESSION = "Session ID"


def read(path: Path) -> tuple[TraceRequest, ...]:
    """The requests that were answered, in the order of the file.

    Raises:
        BadTrace: the file, a line or a field is wrong.
    """
    return tuple(
        TraceRequest(
            at_s=row.seconds("Timestamp"),
            prompt_tokens=row.tokens("Request tokens"),
            output_tokens=row.tokens("Response tokens"),
            session=row.text_or_none(SESSION),
        )
        for row in read_rows(path, FIELDS)
        if _answered(row)
    )


def _answered(row: Row) -> bool:
    return row.tokens("Request tokens", least=0) > 0 and row.tokens("Response tokens", least=0) > 0
