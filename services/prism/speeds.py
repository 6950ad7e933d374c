"""How long an engine's steps take with those that are there, as its step model says. Pure.

Found once for as long as an engine's state and model stay as they are, and not for each request: a router that has hundreds of
engines has no time to ask all their models anew.
"""

from typing import Any

from services.prism.compiled import compiled, one_step_s
from shared.steptime import Law

CHUNKS_TOKENS = (16.0, 128.0, 512.0, 2048.0, 8192.0)
"""Between one and the next, what a chunk takes is as good as straight in its tokens."""
REFERENCE_PROMPT_TOKENS = 1024.0
"""Chunks are taken to be in the middle of prompts so long."""

_MANY, _MANY_SQUARED = 10_000.0, 1e7
"""So many tokens, or tokens², more show what one takes."""


@compiled
def find_speeds(rows: Any, law: Law) -> None:
    """Fill in the speeds of the one engine in `rows` (of `engine_row.ROW`).

    `decode_s` is a step of its answers alone, half of those that wait among them; `joined_s`, with one more; `alone_s`, once
    all that wait are answered too, and one more: that takes `per_kv_token_s` longer with another token in the cache. With a chunk
    of each of `CHUNKS_TOKENS` the first is longer by `beside_s`, and by `per_attention_work_s` for each token² of attention.
    """
    row = rows[0]
    ahead, kv_tokens = row.requests_ahead, row.kv_tokens
    most = row.max_running - 1.0
    seqs = min(row.decodes + ahead / 2, most)
    row.decode_s = _step_s(law, seqs, kv_tokens)
    row.joined_s = _step_s(law, seqs + 1.0, kv_tokens + REFERENCE_PROMPT_TOKENS)

    later_seqs = min(row.decodes + ahead, most) + 1.0
    later_kv_tokens = kv_tokens
    for tokens in row.tokens_by_due:
        later_kv_tokens += tokens
    later_kv_tokens = min(later_kv_tokens, max(row.blocks_total * row.block_tokens, kv_tokens))
    row.alone_s = _step_s(law, later_seqs, later_kv_tokens)
    row.per_kv_token_s = (_step_s(law, later_seqs, later_kv_tokens + _MANY) - row.alone_s) / _MANY

    for place, tokens in enumerate(CHUNKS_TOKENS):
        row.beside_s[place] = _mixed_s(law, seqs, kv_tokens, tokens, 0.0) - row.decode_s
    longer_s = _mixed_s(law, seqs, kv_tokens, CHUNKS_TOKENS[-1], _MANY_SQUARED) - row.decode_s
    row.per_attention_work_s = (longer_s - row.beside_s[-1]) / _MANY_SQUARED


@compiled
def _step_s(law: Law, seqs: float, kv_tokens: float) -> float:
    seqs = max(seqs, 1.0)
    return one_step_s(law, seqs, seqs, kv_tokens, 0.0, 0.0)


@compiled
def _mixed_s(law: Law, seqs: float, kv_tokens: float, tokens: float, extra_work: float) -> float:
    work = tokens * max(REFERENCE_PROMPT_TOKENS, tokens) / 2 + extra_work
    return one_step_s(law, seqs + 1.0, seqs + tokens, kv_tokens + REFERENCE_PROMPT_TOKENS / 2, work, 1.0)
