"""Traces of real traffic, in the formats that people have them in."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from loadgen.traces import azure, burstgpt, lengths, mooncake, sharegpt
from loadgen.traces.request import MOST_TOKENS, BadTrace, TraceRequest
from loadgen.traces.table import not_utf8

__all__ = ["FORMATS", "MOST_TOKENS", "BadTrace", "TraceRequest", "detect_format", "read_trace"]

FORMATS: Mapping[str, Callable[[Path], tuple[TraceRequest, ...]]] = {
    "azure": azure.read,
    "burstgpt": burstgpt.read,
    "mooncake": mooncake.read,
    "sharegpt": sharegpt.read,
    "vidur": lengths.read,
    "lengths": lengths.read_plain,
}
_HEADERS = {
    "azure": azure.FIELDS,
    "burstgpt": burstgpt.FIELDS,
    "vidur": lengths.FIELDS,
    "lengths": lengths.PLAIN_FIELDS,
}


def read_trace(path: Path, format: str | None = None) -> tuple[TraceRequest, ...]:  # noqa: A002 - what it is called
    """The requests of a trace, in the order of their arrivals.

    Args:
        path: the file.
        format: one of `FORMATS`; None: told from the file's suffix and header.

    Raises:
        BadTrace: the file cannot be read, or has no request; names file, line and field.
    """
    requests = FORMATS[detect_format(path) if format is None else format](path)
    if not requests:
        raise BadTrace(path, None, None, "has no request")
    return _from_the_first(requests)


def _from_the_first(requests: tuple[TraceRequest, ...]) -> tuple[TraceRequest, ...]:
    """In order of arrival, which merged traces are not quite; the first one at 0."""
    timed = [(request.at_s, request) for request in requests if request.at_s is not None]
    if len(timed) < len(requests):
        return requests
    timed.sort(key=lambda pair: pair[0])
    began_s = timed[0][0]
    return tuple(msgspec.structs.replace(request, at_s=at_s - began_s) for at_s, request in timed)


def detect_format(path: Path) -> str:
    """The name of the file's format.

    Raises:
        BadTrace: the file cannot be read, or is of none of the formats.
    """
    if path.suffix == ".jsonl":
        return "mooncake"
    if path.suffix == ".json":
        return "sharegpt"
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            columns = {name.strip() for name in next(csv.reader(file), [])}
    except UnicodeDecodeError as error:
        raise not_utf8(path) from error
    except (OSError, csv.Error) as error:
        raise BadTrace(path, None, None, str(error)) from error
    for name, fields in _HEADERS.items():
        if columns.issuperset(fields):
            return name
    known = "; ".join(", ".join(fields) for fields in _HEADERS.values())
    raise BadTrace(path, 1, None, f"the header is of no known format; known are: {known}")
