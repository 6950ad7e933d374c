"""What foresight wants of an engine: a row of numbers, and rows of many engines as one array. Pure."""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.prism.speeds import CHUNKS_TOKENS, find_speeds
from shared.engine_state import DUE_INTERVALS, EngineState
from shared.forecast import ModelHealth
from shared.steptime import StepModel

Array = NDArray[np.floating[Any]]
Rows = NDArray[np.void]
"""Of `ROW`, an element an engine."""

_FIELDS = (
    "accepts",
    "context_tokens",
    "decodes",
    "kv_tokens",
    "requests_ahead",  # that have no answer yet
    "max_running",
    "step_tokens",
    "least_tokens",  # that are prefilled in a step whatever that takes
    "step_target_s",
    "credit_s",
    "in_flight_s",
    "blocks_free",
    "blocks_total",
    "block_tokens",
    "arriving_per_s",
    "announced_at_s",
    "forecast_written_at_s",
    "is_cold",
    "is_drifting",
    "upper_ratio",
    # What `find_speeds` finds.
    "decode_s",
    "joined_s",
    "alone_s",
    "per_kv_token_s",
    "per_attention_work_s",
)
ROW = np.dtype(
    [
        *((name, np.float64) for name in _FIELDS),
        ("beside_s", np.float64, len(CHUNKS_TOKENS)),
        ("tokens_by_due", np.float64, DUE_INTERVALS),
        ("requests_by_due", np.float64, DUE_INTERVALS),
        ("arriving_tokens_per_s", np.float64, DUE_INTERVALS),
    ]
)
"""Times are in seconds; those by due have an element an interval of `DUE_EDGES_S`."""
NUMBERS = ROW.itemsize // 8
"""In a row."""

_NONE_BY_DUE = (0.0,) * DUE_INTERVALS
_NO_SPEEDS = (math.nan,) * (5 + len(CHUNKS_TOKENS))
_pack = struct.Struct(f"{NUMBERS}d").pack


def accepts(state: EngineState) -> bool:
    """Whether an engine may be given new requests."""
    return state.serving and not state.draining


def context_tokens(state: EngineState) -> int:
    """The most tokens that a prompt and its answer may have together."""
    return min(state.max_context_tokens, state.kv_blocks_total * state.kv_block_tokens)


def row_of(state: EngineState, model: StepModel, health: ModelHealth, forecast_written_at_s: float) -> Array:
    """One engine's row, as plain numbers one after the other; `rows_of` makes rows of them.

    Raises:
        OverflowError, struct.error: a number of the state is larger than any that can be reckoned with.
    """
    packed = _pack(
        accepts(state),
        context_tokens(state),
        state.decode_seqs,
        state.kv_tokens,
        state.prefill_seqs + state.waiting_requests,
        max(state.max_running, 1),
        max(state.step_tokens, 1),
        max(state.least_prefill_tokens, 1),
        state.step_target_ms / 1e3,
        state.credit_ms / 1e3,
        state.in_flight_ms / 1e3,
        state.kv_blocks_free,
        max(state.kv_blocks_total, 1),
        max(state.kv_block_tokens, 1),
        state.arriving_per_s,
        state.announced_at_s,
        forecast_written_at_s,
        health is ModelHealth.COLD,
        health is ModelHealth.DRIFTING,
        model.upper_ratio,
        *_NO_SPEEDS,
        *(state.prefill_tokens_by_due or _NONE_BY_DUE),
        *(state.prefills_by_due or _NONE_BY_DUE),
        *(state.arriving_tokens_per_s or _NONE_BY_DUE),
    )
    row = np.frombuffer(bytearray(packed))  # a fifth of the time that an array takes to be made of so many numbers
    find_speeds(row.view(ROW), model)
    return row


def rows_of(engine_rows: Sequence[Array]) -> Rows:
    """Of engines, each as `row_of` has it."""
    numbers = np.concatenate(engine_rows) if engine_rows else np.empty(0)
    return rows_in(numbers)


def rows_in(numbers: Array) -> Rows:
    """Rows that follow one another, as rows."""
    rows: Rows = numbers.reshape(-1).view(ROW)
    return rows
