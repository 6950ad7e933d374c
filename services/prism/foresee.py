"""What a request would meet on each engine: time to first token and time per output token, if it were sent there now.

It follows how lens batches: decodes first, then prefill in order of arrival, as much as fits in the step's target time.
All engines at once; every array has one element an engine.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.prism.dispatches import Load
from services.prism.fleet import EngineView
from services.prism.prompt_size import Ask
from shared.forecast import ModelHealth
from shared.steptime import StepModel, StepShape, step_times_s

Array = NDArray[np.float64]
StepTimes = Callable[[Sequence[StepModel], StepShape], NDArray[np.floating[Any]]]
"""How long a step takes on each of these engines: the last axis of the shape runs along them."""

_CHUNKS_TOKENS = np.geomspace(16, 16_384, 48)[:, np.newaxis]

FRESH_FORECAST_S = 5.0
OLD_FORECAST_S = 60.0
FRESH_STATE_S = 1.0
OLD_STATE_S = 3.0
LEAST_UPPER_RATIO = 1.1
"""However exact a model was, this much may have changed since it was last heard of."""


class Foreseen(NamedTuple):
    """The request's times on each engine."""

    ttft_s: Array
    tpot_s: Array


class _Crowd(NamedTuple):
    """Who is at each engine already, what its state does not show yet included."""

    decodes: Array
    kv_tokens: Array
    requests_ahead: Array
    tokens_ahead: Array
    """To prefill before the request's own."""
    max_running: Array
    step_tokens: Array
    least_tokens: Array
    step_target_s: Array
    in_flight_s: Array
    blocks_free: Array
    blocks_total: Array
    block_tokens: Array


def foresee(
    engines: Sequence[EngineView],
    loads: Sequence[Load],
    ask: Ask,
    now_s: float,
    step_times: StepTimes = step_times_s,
    cached_tokens: Sequence[int] = (),
) -> Foreseen:
    """The times that this request would see on each of these engines.

    Args:
        engines: at least one.
        loads: what this replica knows of each beyond its state.
        now_s: by the clock that the engines' times are of.
        step_times: how long steps take on them; by default as their models say.
        cached_tokens: of its prompt, what each has already and need not compute; empty: nothing.
    """
    models = [engine.model for engine in engines]
    crowd = _crowd(engines, loads)
    caution = np.array([_caution(engine, now_s) for engine in engines])

    batched = np.minimum(crowd.decodes + crowd.requests_ahead, crowd.max_running - 1)
    meanwhile = crowd._replace(decodes=np.minimum(crowd.decodes + crowd.requests_ahead / 2, crowd.max_running - 1))
    chunk_tokens = _chunk_tokens(step_times, models, meanwhile, ask)
    own_tokens = np.maximum(ask.prompt_tokens - np.array(cached_tokens or 0.0), 1.0)
    prefill_tokens = crowd.tokens_ahead + own_tokens
    steps = np.ceil(prefill_tokens / chunk_tokens)
    prefill_s = steps * step_times(models, _mixed(meanwhile, prefill_tokens / steps, ask))

    kv_tokens = crowd.kv_tokens + crowd.tokens_ahead + ask.prompt_tokens + ask.output_tokens / 2
    decode_s = step_times(models, _decodes(batched + 1, kv_tokens))
    room_s = _generations_until_room(crowd, ask) * ask.output_tokens * decode_s

    mixed_s = np.maximum(step_times(models, _mixed(meanwhile, chunk_tokens, ask)), decode_s)
    mixed_share = np.minimum(crowd.tokens_ahead / chunk_tokens / ask.output_tokens, 1.0)
    tpot_s = decode_s + mixed_share * (mixed_s - decode_s)
    return Foreseen(ttft_s=caution * (crowd.in_flight_s + prefill_s + room_s), tpot_s=caution * tpot_s)


def _crowd(engines: Sequence[EngineView], loads: Sequence[Load]) -> _Crowd:
    rows = [
        (
            state.decode_seqs,
            state.kv_tokens,
            state.prefill_seqs + state.waiting_requests + load.pending_requests,
            state.waiting_prefill_tokens + load.pending_prompt_tokens,
            max(state.max_running, 1),
            state.step_tokens,
            max(state.least_prefill_tokens, 1),
            state.step_target_ms / 1e3,
            state.in_flight_ms / 1e3,
            state.kv_blocks_free,
            max(state.kv_blocks_total, 1),
            max(state.kv_block_tokens, 1),
        )
        for state, load in zip((engine.state for engine in engines), loads, strict=True)
    ]
    return _Crowd(*np.array(rows, np.float64).T)


def _caution(engine: EngineView, now_s: float) -> float:
    """What to multiply expected times by: towards the upper quantile as what is known of the engine grows old."""
    if engine.health is ModelHealth.COLD:
        return 1.0  # the prior is cautious already
    doubt = max(
        (engine.forecast_age_s(now_s) - FRESH_FORECAST_S) / (OLD_FORECAST_S - FRESH_FORECAST_S),
        (engine.state_age_s(now_s) - FRESH_STATE_S) / (OLD_STATE_S - FRESH_STATE_S),
        1.0 if engine.health is ModelHealth.DRIFTING else 0.0,
    )
    return 1 + min(doubt, 1.0) * (max(engine.model.upper_ratio, LEAST_UPPER_RATIO) - 1)


def _chunk_tokens(step_times: StepTimes, models: Sequence[StepModel], crowd: _Crowd, ask: Ask) -> Array:
    """The prefill tokens that fit in a step beside the decodes."""
    in_time = step_times(models, _mixed(crowd, _CHUNKS_TOKENS, ask)) <= crowd.step_target_s
    largest: Array = np.where(in_time, _CHUNKS_TOKENS, crowd.least_tokens).max(axis=0)
    return np.minimum(largest, np.maximum(crowd.step_tokens - crowd.decodes, 1))


def _mixed(crowd: _Crowd, chunk_tokens: Array, ask: Ask) -> StepShape:
    """The middle one of the steps that prefill, as if all prompts were as long as ours."""
    return StepShape(
        batch_size=crowd.decodes + 1,
        num_tokens=crowd.decodes + chunk_tokens,
        kv_tokens=crowd.kv_tokens + (crowd.tokens_ahead + ask.prompt_tokens) / 2,
        attention_work=chunk_tokens * ask.prompt_tokens / 2,
        prefill_seqs=1.0,
    )


def _decodes(decodes: Array, kv_tokens: Array) -> StepShape:
    return StepShape(batch_size=decodes, num_tokens=decodes, kv_tokens=kv_tokens)


def _generations_until_room(crowd: _Crowd, ask: Ask) -> Array:
    """How long until the request has a slot and KV blocks, in durations of an answer: all of them come free in one."""
    slots_short = crowd.decodes + crowd.requests_ahead + 1 - crowd.max_running
    wanted_tokens = crowd.tokens_ahead + ask.prompt_tokens + (ask.most_output_tokens or ask.output_tokens)
    blocks_short = np.ceil(wanted_tokens / crowd.block_tokens) - crowd.blocks_free
    short: Array = np.maximum(slots_short / crowd.max_running, blocks_short / crowd.blocks_total)
    return np.maximum(short, 0.0)
