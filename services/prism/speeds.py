"""How long an engine's steps take with those that are there, as its step model says. Pure.

Found once for as long as an engine's state and model stay as they are, and not for each request: a router that has hundreds of
engines has no time to ask all their models anew.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.engine_state import EngineState
from shared.steptime import StepModel, StepShape

Array = NDArray[np.floating[Any]]

CHUNKS_TOKENS = (16, 128, 512, 2048, 8192)
"""Between one and the next, what a chunk takes is as good as straight in its tokens."""
REFERENCE_PROMPT_TOKENS = 1024
"""Chunks are taken to be in the middle of prompts so long."""


class Speeds(NamedTuple):
    """Of engines, one element each."""

    decode_s: Array
    """A step of the answers alone, half of those that wait among them."""
    joined_s: Array
    """With one more."""
    alone_s: Array
    """Once all that wait are answered too, and one more."""
    per_kv_token_s: Array
    """So much longer is that step with another token in the cache."""
    per_attention_work_s: Array
    """And a step with a chunk, for each token² of attention."""
    beside_s: Array
    """So much longer is a step with each of `CHUNKS_TOKENS`, along the first axis."""

    @classmethod
    def of_rows(cls, rows: Sequence[Array]) -> "Speeds":
        """From a row of `speeds_of` for each engine."""
        columns = np.concatenate(rows).reshape(len(rows), -1).T
        return cls._make((*columns[: -len(CHUNKS_TOKENS)], columns[-len(CHUNKS_TOKENS) :]))

    def with_more(self, requests: Array, caution: float | Array) -> "Speeds":
        """With more requests ahead, whose prompts are as long as the reference; all times multiplied by `caution`."""
        more_s = requests * (self.joined_s - self.decode_s)
        return Speeds(
            caution * (self.decode_s + more_s / 2),
            caution * (self.joined_s + more_s / 2),
            caution * (self.alone_s + more_s),
            caution * self.per_kv_token_s,
            caution * self.per_attention_work_s,
            caution * self.beside_s,
        )


def speeds_of(state: EngineState, model: StepModel) -> Array:
    """The `Speeds` of one engine, in a row."""
    most = max(state.max_running, 1) - 1
    ahead = state.prefill_seqs + state.waiting_requests
    seqs = min(state.decode_seqs + ahead / 2, most)
    kv_tokens = float(state.kv_tokens)
    decode_s = _step_s(model, seqs, kv_tokens)
    later_seqs = min(state.decode_seqs + ahead, most) + 1.0
    room_tokens = max(float(state.kv_blocks_total * state.kv_block_tokens), kv_tokens)
    later_kv_tokens = min(kv_tokens + sum(state.prefill_tokens_by_due), room_tokens)
    alone_s = _step_s(model, later_seqs, later_kv_tokens)
    per_kv_token_s = (_step_s(model, later_seqs, later_kv_tokens + MANY) - alone_s) / MANY
    beside_s = [_mixed_s(model, seqs, kv_tokens, tokens) - decode_s for tokens in CHUNKS_TOKENS]
    longer_s = _mixed_s(model, seqs, kv_tokens, CHUNKS_TOKENS[-1], extra_work=MANY_SQUARED) - decode_s
    per_work_s = (longer_s - beside_s[-1]) / MANY_SQUARED
    joined_s = _step_s(model, seqs + 1.0, kv_tokens + REFERENCE_PROMPT_TOKENS)
    return np.array((decode_s, joined_s, alone_s, per_kv_token_s, per_work_s, *beside_s), np.float64)


MANY, MANY_SQUARED = 10_000.0, 1e7
"""So many tokens, or tokens², more show what one takes."""


def _step_s(model: StepModel, seqs: float, kv_tokens: float) -> float:
    seqs = max(seqs, 1.0)
    return float(model.step_time_s(StepShape(seqs, seqs, kv_tokens)))


def _mixed_s(model: StepModel, seqs: float, kv_tokens: float, tokens: int, extra_work: float = 0.0) -> float:
    work = tokens * max(REFERENCE_PROMPT_TOKENS, tokens) / 2 + extra_work
    shape = StepShape(seqs + 1.0, seqs + tokens, kv_tokens + REFERENCE_PROMPT_TOKENS / 2, work, 1.0)
    return float(model.step_time_s(shape))
