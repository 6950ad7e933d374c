"""Step logs of real engines, a JSON object a line and a line a step: what a step ran, when, and how long it took."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from shared.steptime import StepShape

SHORTEST_STEP_MS, LONGEST_STEP_MS = 1e-3, 1000.0
"""Longer ones are an engine's start, not its work."""

Tokens = Annotated[int, msgspec.Meta(ge=0, le=10**9)]
ChunkTokens = Annotated[int, msgspec.Meta(ge=1, le=10**9)]


class LoggedStep(msgspec.Struct, frozen=True):
    """A step that ran."""

    shape: StepShape
    duration_s: float
    at_s: float
    """Its end, on the log's own clock."""


class BadStepLog(ValueError):
    """A log that cannot be read: `path`, `line` counted from 1 (None: the file as a whole), and what is wrong."""

    def __init__(self, path: Path, line: int | None, problem: str) -> None:
        self.path = path
        self.line = line
        self.problem = problem
        super().__init__(f"{path}: {problem}" if line is None else f"{path}, line {line}: {problem}")


class _Row(msgspec.Struct):
    timestamp: float
    chunk_sizes: tuple[ChunkTokens, ...]
    all_computed_tokens: tuple[Tokens, ...]
    model_run_duration_ms: Annotated[float, msgspec.Meta(ge=0.0)] | None = None


def read_steps(path: Path) -> tuple[LoggedStep, ...]:
    """The steps of a log, in its order; rows without a duration, without sequences or over 1,000 ms are left out.

    Raises:
        BadStepLog: the file cannot be read, a line is not a step, or no step remains.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadStepLog(path, None, error.strerror or str(error)) from error
    steps = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            step = parse_step(line)
        except ValueError as error:
            raise BadStepLog(path, number, str(error)) from error
        if step is not None:
            steps.append(step)
    if not steps:
        raise BadStepLog(path, None, "no step with a duration")
    return tuple(steps)


def parse_step(line: bytes) -> LoggedStep | None:
    """One row's step; None where it ran nothing that counts.

    Raises:
        ValueError: the row is not JSON, lacks a field, or contradicts itself.
    """
    try:
        row = msgspec.json.decode(line, type=_Row)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if len(row.chunk_sizes) != len(row.all_computed_tokens):
        raise ValueError(f"{len(row.chunk_sizes)} chunk_sizes, but {len(row.all_computed_tokens)} all_computed_tokens")
    duration_ms = row.model_run_duration_ms
    if not row.chunk_sizes or duration_ms is None or not SHORTEST_STEP_MS <= duration_ms <= LONGEST_STEP_MS:
        return None
    duration_s = duration_ms / 1e3
    return LoggedStep(_shape(row), duration_s, row.timestamp + duration_s)


def _shape(row: _Row) -> StepShape:
    """A chunk of one token is a decode, a longer one a prefill chunk."""
    prefills = [(c, k) for c, k in zip(row.chunk_sizes, row.all_computed_tokens, strict=True) if c > 1]
    return StepShape(
        batch_size=len(row.chunk_sizes),
        num_tokens=sum(row.chunk_sizes),
        kv_tokens=sum(row.all_computed_tokens),
        attention_work=sum(c * (k + c / 2) for c, k in prefills),
        prefill_seqs=len(prefills),
    )


def stack_shapes(steps: Sequence[LoggedStep]) -> StepShape:
    """The steps' shapes as one, an array a field."""
    return StepShape(*np.array([step.shape for step in steps], dtype=float).T)
