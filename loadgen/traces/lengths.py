"""Plain lengths (CSV): tokens in, tokens out, no arrivals; with the column names of several sources."""

from pathlib import Path

from loadgen.traces.request import TraceRequest
from loadgen.traces.table import read_rows

FIELDS = ("num_prefill_tokens", "num_decode_tokens")
PLAIN_FIELDS = ("prompt_tokens", "output_tokens")


def read(path: Path) -> tuple[TraceRequest, ...]:
    """The requests, in the order of the file.

    Raises:
        BadTrace: the file, a line or a field is wrong.
    """
    return _read(path, FIELDS)


def read_plain(path: Path) -> tuple[TraceRequest, ...]:
    """As `read`, of a file whose columns are called `prompt_tokens` and `output_tokens`.

    Raises:
        BadTrace: the file, a line or a field is wrong.
    """
    return _read(path, PLAIN_FIELDS)


def _read(path: Path, fields: tuple[str, str]) -> tuple[TraceRequest, ...]:
    prompt, output = fields
    return tuple(TraceRequest(None, row.tokens(prompt), row.tokens(output)) for row in read_rows(path, fields))
