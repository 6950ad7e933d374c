"""What a trace says of one request, and what is said of a trace that cannot be read."""

from pathlib import Path

import msgspec

MOST_TOKENS = 10_000_000
"""Of a prompt or an answer: no model has a longer context, and what is longer is a mistake in the trace."""


class TraceRequest(msgspec.Struct, frozen=True):
    """One request of a trace."""

    at_s: float | None
    """From the trace's first request; None where the trace has no arrivals."""
    prompt_tokens: int
    output_tokens: int
    prefix_ids: tuple[int, ...] = ()
    """One a prefix block, from the prompt's start; equal ids mean equal content."""
    session: str | None = None
    """Requests of one conversation have one: their prompts begin alike."""
    text: str | None = None
    """The prompt itself, where the trace has it."""
    slo_class: str | None = None
    """The class whose own trace has it; None: any class may ask for it."""


class BadTrace(ValueError):
    """A trace that cannot be read: `path`, `line` counted from 1, `field`, and what is wrong.

    `line` is None where the file as a whole is wrong, `field` where the whole line is.
    """

    def __init__(self, path: Path, line: int | None, field: str | None, problem: str) -> None:
        self.path = path
        self.line = line
        self.field = field
        self.problem = problem
        place = "".join((str(path), "" if line is None else f", line {line}", "" if field is None else f", {field}"))
        super().__init__(f"{place}: {problem}")
