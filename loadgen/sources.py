"""The traces that a load is of: the run's, or one for each class."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadgen.traces import MOST_TOKENS, BadTrace, TraceRequest, read_trace
from loadgen.workload import ClassTrace


class Source(NamedTuple):
    """A trace to be read."""

    path: Path
    format: str | None = None
    """None: told from the file's suffix and header."""
    slo_class: str | None = None
    """The class whose own trace it is; None: it is the run's."""
    trace: ClassTrace | None = None
    """What that class makes of it."""


def read_sources(sources: Sequence[Source]) -> tuple[TraceRequest, ...]:
    """The requests of all of them, one trace after the other.

    Raises:
        BadTrace: one cannot be read.
    """
    return tuple(request for source in sources for request in _read(source))


def _read(source: Source) -> Sequence[TraceRequest]:
    requests = read_trace(source.path, source.format)
    if source.trace is not None:
        longest_tokens = source.trace.longer * max(request.prompt_tokens for request in requests)
        if longest_tokens > MOST_TOKENS:
            problem = f"its longest prompt, made {source.trace.longer:g} times longer, is above {MOST_TOKENS} tokens"
            raise BadTrace(source.path, None, None, problem)
        requests = tuple(map(source.trace.of, requests))
    if source.slo_class is None:
        return requests
    return tuple(msgspec.structs.replace(request, slo_class=source.slo_class) for request in requests)
