"""How long an engine's steps take with those that are there, as its step model says. Pure.

Found once for as long as an engine's state and model stay as they are, and not for each request: a router that has hundreds of
engines has no time to ask all their models anew.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.prism.compiled import compiled, one_step_s
from shared.steptime import Law, StepModel, StepShape

Array = NDArray[np.floating[Any]]

CHUNKS_TOKENS = (16.0, 128.0, 512.0, 2048.0, 8192.0)
"""Between one and the next, what a chunk takes is as good as straight in its tokens."""
REFERENCE_PROMPT_TOKENS = 1024.0
"""Chunks are taken to be in the middle of prompts so long."""

_MANY, _MANY_SQUARED = 10_000.0, 1e7
"""So many tokens, or tokens², more show what one takes."""


_DECODE, _JOINED, _ALONE, _MORE_KV_TOKENS, _MORE_WORK, _BESIDE = range(6)
"""The steps that are asked for, one for each of `CHUNKS_TOKENS` from the last on."""
_STEPS = _BESIDE + len(CHUNKS_TOKENS)


def find_speeds(rows: Any, model: StepModel) -> None:
    """Fill in the speeds of the one engine in `rows` (of `engine_row.ROW`).

    `decode_s` is a step of its answers alone, half of those that wait among them; `joined_s`, with one more; `alone_s`, once
    all that wait are answered too, and one more: that takes `per_kv_token_s` longer with another token in the cache. With a chunk
    of each of `CHUNKS_TOKENS` the first is longer by `beside_s`, and by `per_attention_work_s` for each token² of attention.
    """
    if model.law is not None:
        _find_by_law(rows, model.law)
    else:
        shapes = (StepShape(*shape) for shape in _shapes(rows[0]).tolist())
        _fill_in(rows[0], np.array([model.step_time_s(shape) for shape in shapes]))


@compiled
def _find_by_law(rows: Any, law: Law) -> None:
    shapes, times_s = _shapes(rows[0]), np.empty(_STEPS)
    for step in range(_STEPS):
        seqs, tokens, kv_tokens, work, prefill_seqs = shapes[step]
        times_s[step] = one_step_s(law, seqs, tokens, kv_tokens, work, prefill_seqs)
    _fill_in(rows[0], times_s)


@compiled
def _shapes(row: Any) -> Array:
    """The steps that are asked for, a row each in the order of `StepShape`."""
    kv_tokens, most = row.kv_tokens, row.max_running - 1.0
    seqs = min(row.decodes + row.requests_ahead / 2, most)
    later_seqs = min(row.decodes + row.requests_ahead, most) + 1.0
    room_tokens = max(row.blocks_total * row.block_tokens, kv_tokens)
    later_kv_tokens = min(kv_tokens + row.tokens_by_due.sum(), room_tokens)
    shapes = np.empty((_STEPS, 5))
    _write(shapes[_DECODE], max(seqs, 1.0), max(seqs, 1.0), kv_tokens, 0.0, 0.0)
    _write(shapes[_JOINED], seqs + 1.0, seqs + 1.0, kv_tokens + REFERENCE_PROMPT_TOKENS, 0.0, 0.0)
    _write(shapes[_ALONE], later_seqs, later_seqs, later_kv_tokens, 0.0, 0.0)
    _write(shapes[_MORE_KV_TOKENS], later_seqs, later_seqs, later_kv_tokens + _MANY, 0.0, 0.0)
    kv_tokens += REFERENCE_PROMPT_TOKENS / 2
    tokens = work = 0.0
    for place in range(len(CHUNKS_TOKENS)):
        tokens = CHUNKS_TOKENS[place]
        work = tokens * max(REFERENCE_PROMPT_TOKENS, tokens) / 2
        _write(shapes[_BESIDE + place], seqs + 1.0, seqs + tokens, kv_tokens, work, 1.0)
    _write(shapes[_MORE_WORK], seqs + 1.0, seqs + tokens, kv_tokens, work + _MANY_SQUARED, 1.0)
    return shapes


@compiled
def _write(shape: Array, seqs: float, tokens: float, kv_tokens: float, work: float, prefill_seqs: float) -> None:
    shape[0], shape[1], shape[2], shape[3], shape[4] = seqs, tokens, kv_tokens, work, prefill_seqs


@compiled
def _fill_in(row: Any, times_s: Array) -> None:
    row.decode_s, row.joined_s, row.alone_s = times_s[_DECODE], times_s[_JOINED], times_s[_ALONE]
    row.per_kv_token_s = (times_s[_MORE_KV_TOKENS] - times_s[_ALONE]) / _MANY
    row.per_attention_work_s = (times_s[_MORE_WORK] - times_s[-1]) / _MANY_SQUARED
    for place in range(len(CHUNKS_TOKENS)):
        row.beside_s[place] = times_s[_BESIDE + place] - times_s[_DECODE]
