"""What would become of a request on each engine, and of the promises made there already, if it were sent there now. Pure.

It follows how lens batches. Answers come first, in steps as long as the tightest of them allows; what they leave of a step is
spent on prompts by what is due first, and a prompt that cannot be on time goes behind those that can. So a prompt waits for
what is due before it, at the rate that the answers leave; what is due after it waits for it; and an answer gets its tokens
at the pace that was promised while there are prompts to compute, and faster when there are none.

All engines at once: every array has one element an engine, along its last axis.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from services.prism.calibration import EngineErrors
from services.prism.crowd import BEGIN_S, EDGES_S, Crowd, crowd_of
from services.prism.dispatches import Load
from services.prism.fleet import EngineView
from services.prism.prompt_size import Ask
from services.prism.speeds import CHUNKS_TOKENS, REFERENCE_PROMPT_TOKENS, Array, Speeds
from shared.slo import Slo

REFERENCE_TTFT_S = 10.0
REFERENCE_TPOT_S = 0.2
PACED_AT = 0.98
MOST_GAP_PACES = 4.0
RESERVED_OUTPUT_TOKENS = 128
"""As lens has them: what stands for targets that a request lacks, the share of its TPOT target that an answer is paced at, the
longest step in paces, and the room for its answer that a request needs before it can begin."""

FRESH_FORECAST_S = 5.0
OLD_FORECAST_S = 60.0
FRESH_STATE_S = 1.0
OLD_STATE_S = 3.0
LEAST_UPPER_RATIO = 1.1
"""However exact a model was, this much may have changed since it was last heard of."""
MOST_BUSY = 0.9
"""Of an engine's time goes to what comes while a request is served, however much has come of late."""
TTFT_DEVIATION = 0.2
"""Of a time to first token, relative: what comes before it and is not there yet."""
UNSEEN_SHARE = 0.4
"""Of the time since an engine's state was written may have gone to what is not in it: that much a first token is off, too."""
TPOT_DEVIATION = 0.1

TELLING_DEVIATION = 0.3
"""Errors that scatter by so much say half, as a logarithm, of what their mean says: it comes of a few bursts, and the next request
is not in one."""

LEAST_S = 1e-9
_CHUNKS_TOKENS: Array = np.array(CHUNKS_TOKENS, np.float64)[:, np.newaxis]
_SPANS_TOKENS: Array = _CHUNKS_TOKENS[1:] - _CHUNKS_TOKENS[:-1]
_SPANS_S: Array = EDGES_S - BEGIN_S
_MIDDLES_S: Array = (BEGIN_S + EDGES_S) / 2
_FATES: Array = 1.0 + TTFT_DEVIATION * np.array([-1.0, 1.0])[:, np.newaxis, np.newaxis]
"""So many times as fast things may go, as likely each."""


class Foreseen(NamedTuple):
    """Of each engine."""

    ttft_s: Array
    tpot_s: Array
    p_met: Array
    """That the request keeps all its targets."""
    others_broken: Array
    """Promises to requests waiting there that would be broken, beyond those that are in any case."""
    delay_s: Array
    """So much later is served what comes after it: by what its prompt, and its answer's claim on every step, take."""
    backlog_s: Array
    """What waits there, and can be on time, takes so long."""
    arriving_per_s: Array
    """Requests that came there of late."""
    pressure: Array
    """How near the engine is to breaking promises, 0 to 1: the share of its time that prompts take as they came of late, or
    that those waiting take of the time until they are due, whichever is more."""
    ttft_factor: Array
    tpot_factor: Array
    """So many times what would have been foreseen without knowing of errors."""


class _Correction(NamedTuple):
    """Of what is foreseen."""

    ttft_factor: float | Array
    ttft_deviation: float | Array
    """Relative."""
    tpot_factor: float | Array


class _Answer(NamedTuple):
    """As the request would have it from each engine."""

    ttft_s: Array
    tpot_s: Array
    alone_s: Array
    """A step of answers alone."""


class _Speed(NamedTuple):
    """How fast an engine runs with those that are there."""

    decode_s: Array
    """A step of its answers alone."""
    beside_s: Array
    """So much longer is a step with a chunk of each of `_CHUNKS_TOKENS`."""
    pace_s: Array
    """So long are steps at most in the long run; infinite without answers."""
    rate: Array
    """Prompt tokens a second, then."""
    joint_rate: Array
    """With one more answer, at its pace if that is tighter."""


def foresee(
    engines: Sequence[EngineView],
    loads: Sequence[Load],
    ask: Ask,
    slo: Slo,
    now_s: float,
    cached_tokens: Sequence[int] = (),
    errors: EngineErrors | None = None,
) -> Foreseen:
    """What this request would meet on each of these engines, and do to others there.

    Args:
        engines: at least one.
        loads: what is known of each beyond its state.
        now_s: by the clock that the engines' times are of.
        cached_tokens: of its prompt, what each has already and need not compute; empty: nothing.
        errors: of what was foreseen of each before, by which this is corrected; None: not at all.
    """
    crowd = crowd_of(engines, loads)
    age_s = np.maximum(now_s - crowd.announced_at_s, 0.0)
    caution = _caution(crowd, age_s, now_s)
    prompt_tokens = float(max(ask.prompt_tokens, 1))
    own_tokens = np.maximum(prompt_tokens - np.asarray(cached_tokens or 0.0), 1.0)
    own_pace_s = PACED_AT * (slo.tpot_s or REFERENCE_TPOT_S)
    speeds = Speeds.of_rows([engine.speeds for engine in engines]).with_more(crowd.on_their_way, caution)
    speed = _speed(crowd, speeds, own_pace_s)
    alone_s = speeds.alone_s + speeds.per_kv_token_s * (prompt_tokens + ask.output_tokens / 2)
    given_s = min(slo.first_token_s, REFERENCE_TTFT_S)

    # The state is as old as its age; what was due before the request then has been worked on since.
    before = _within(given_s + age_s - BEGIN_S, _SPANS_S)
    own_by_due = own_tokens * ((before > 0.0) & (before < 1.0))
    kept_by_fate, kept_with_own = kept_tokens(
        np.stack((crowd.tokens_by_due, crowd.tokens_by_due + own_by_due))[:, np.newaxis], speed.rate * _FATES
    )
    kept = kept_by_fate.mean(axis=0)
    kept_in_all = kept.sum(axis=0)
    kept_before = (before * kept).sum(axis=0)
    ahead_tokens = np.maximum(kept_before - speed.rate * age_s, 0.0)
    # So much of the time given has what comes an earlier due date.
    come_before = np.maximum(1.0 - _MIDDLES_S / given_s, 0.0)
    taken = np.minimum((come_before * crowd.arriving_tokens_per_s).sum(axis=0) / speed.rate, MOST_BUSY)
    attention_s = speeds.per_attention_work_s * own_tokens * (prompt_tokens - REFERENCE_PROMPT_TOKENS) / 2
    computed_s = np.maximum(_prefill_s(crowd, speed, ahead_tokens + own_tokens) + attention_s, speed.decode_s)
    computed_s = computed_s / (1.0 - taken)
    room_s = _generations_until_room(crowd, ask) * ask.output_tokens * alone_s
    presumed_ttft_s = crowd.in_flight_s + computed_s + room_s
    # An engine that nobody is at has nothing to tell, and does so once a second.
    unseen_s = UNSEEN_SHARE * age_s * (crowd.decodes + crowd.requests_ahead > 0.0)
    correction = _UNCORRECTED if errors is None else _correction_by(errors)
    ttft_s = correction.ttft_factor * presumed_ttft_s

    arriving_tokens_per_s = crowd.arriving_tokens_per_s.sum(axis=0)
    busy = arriving_tokens_per_s / speed.rate
    backlog_s = np.maximum(kept_in_all / speed.rate - age_s, 0.0)
    pace_s = _pace_s(crowd, alone_s, own_pace_s)
    free_s = _free_s(speed, alone_s, arriving_tokens_per_s)
    paced_share = _within((kept_in_all - kept_before) / speed.rate, pace_s * ask.output_tokens)
    presumed_tpot_s = _tpot_s(free_s, pace_s, paced_share)
    tpot_s = presumed_tpot_s if errors is None else _tpot_s(correction.tpot_factor * free_s, pace_s, paced_share)
    slowed = np.maximum(1.0 - speed.joint_rate / speed.rate, 0.0) * np.minimum(busy, MOST_BUSY)
    due_share = (np.cumsum(crowd.tokens_by_due, axis=0) / EDGES_S).max(axis=0) / speed.rate
    return Foreseen(
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        p_met=_p_met(slo, ask, _Answer(ttft_s, tpot_s, alone_s), unseen_s, correction.ttft_deviation),
        others_broken=_others_broken(crowd, kept_by_fate, np.maximum(kept_with_own - own_by_due, 0.0)),
        delay_s=own_tokens / speed.joint_rate + slowed * ask.output_tokens * tpot_s,
        backlog_s=backlog_s,
        arriving_per_s=crowd.arriving_per_s,
        pressure=np.minimum(np.maximum(due_share, busy), 1.0),
        ttft_factor=correction.ttft_factor * np.ones_like(ttft_s),
        tpot_factor=tpot_s / np.maximum(presumed_tpot_s, LEAST_S),
    )


def kept_tokens(tokens_by_due: Array, rate: Array) -> Array:
    """Of the prompt tokens due in each interval, those that are computed by its end, what is due earlier first.

    Args:
        tokens_by_due: the intervals along the axis before the last.
        rate: tokens a second.
    """
    summed = np.cumsum(tokens_by_due, axis=-2)
    left = np.minimum.accumulate(rate * EDGES_S - summed, axis=-2)
    kept: Array = summed + np.minimum(left, 0.0)
    kept[..., 1:, :] -= kept[..., :-1, :].copy()
    return np.maximum(kept, 0.0)


_UNCORRECTED = _Correction(1.0, TTFT_DEVIATION, 1.0)


def _correction_by(errors: EngineErrors) -> _Correction:
    """The less the errors scatter, the more of their mean; and times to first token are never thought surer than they would be."""
    return _Correction(
        ttft_factor=_told(errors.ttft_factor, errors.ttft_deviation),
        ttft_deviation=np.maximum(errors.ttft_deviation, TTFT_DEVIATION),
        tpot_factor=_told(errors.tpot_factor, errors.tpot_deviation),
    )


def _told(factor: Array, deviation: Array) -> Array:
    told: Array = factor ** (1.0 / (1.0 + (deviation / TELLING_DEVIATION) ** 2))
    return told


def _caution(crowd: Crowd, age_s: Array, now_s: float) -> Array:
    """What to multiply expected times by: towards the upper quantile as what is known of the engine grows old.

    Where nothing is known of it, the prior is cautious already.
    """
    forecast_age_s = now_s - crowd.forecast_written_at_s
    doubt = np.maximum(
        (forecast_age_s - FRESH_FORECAST_S) / (OLD_FORECAST_S - FRESH_FORECAST_S),
        (age_s - FRESH_STATE_S) / (OLD_STATE_S - FRESH_STATE_S),
    )
    doubt = np.minimum(np.maximum(doubt, crowd.is_drifting), 1.0) * (1.0 - crowd.is_cold)
    return np.asarray(1.0 + doubt * (np.maximum(crowd.upper_ratio, LEAST_UPPER_RATIO) - 1.0))


def _speed(crowd: Crowd, speeds: Speeds, own_pace_s: float) -> _Speed:
    without_and_with_s = np.stack((speeds.decode_s, speeds.joined_s))
    beside_s = np.maximum(speeds.beside_s, LEAST_S)
    pace_s = _pace_s(crowd, without_and_with_s, np.array([[math.inf], [own_pace_s]]))
    rate, joint_rate = _rates(crowd, without_and_with_s, beside_s, pace_s)
    return _Speed(without_and_with_s[0], beside_s, pace_s[0], rate, joint_rate)


def _pace_s(crowd: Crowd, decode_s: Array, own_pace_s: float | Array) -> Array:
    """The tightest of the answers', that are there or on their way, and of another; no step is shorter than its answers take."""
    there_s = np.where(crowd.decodes + crowd.requests_ahead < 1.0, math.inf, crowd.step_target_s)
    return np.maximum(np.minimum(there_s, own_pace_s), decode_s)


def _rates(crowd: Crowd, decode_s: Array, beside_s: Array, pace_s: Array) -> Array:
    """Prompt tokens a second in the largest steps that the paces and the engine allow; a row for each of `decode_s` and `pace_s`."""
    room_s = pace_s - decode_s
    inside = _within(room_s[:, np.newaxis] - beside_s[:-1], np.maximum(beside_s[1:] - beside_s[:-1], LEAST_S))
    tokens = np.minimum(room_s / beside_s[0], 1.0) * _CHUNKS_TOKENS[0] + (inside * _SPANS_TOKENS).sum(axis=1)
    most_tokens = np.maximum(crowd.step_tokens - crowd.decodes, 1.0)
    tokens = np.minimum(np.maximum(tokens, crowd.least_tokens), most_tokens)
    rate: Array = tokens / (decode_s + _beside_s(tokens, beside_s))
    return rate


def _beside_s(tokens: Array, beside_s: Array) -> Array:
    """How much longer a step is with a chunk of so many tokens; as several steps if they are more than the largest chunk."""
    inside = _within(tokens[..., np.newaxis, :] - _CHUNKS_TOKENS[:-1], _SPANS_TOKENS)
    first_s = np.minimum(tokens / _CHUNKS_TOKENS[0], 1.0) * beside_s[0]
    beyond = np.maximum(tokens / _CHUNKS_TOKENS[-1] - 1.0, 0.0)
    took_s: Array = first_s + (inside * (beside_s[1:] - beside_s[:-1])).sum(axis=-2) + beyond * beside_s[-1]
    return took_s


def _prefill_s(crowd: Crowd, speed: _Speed, tokens: Array) -> Array:
    """Until so many prompt tokens are computed: in as few steps as gaps between tokens allow, or at the rate, whichever is later.

    Answers that are ahead of their targets lend the time they are ahead by.
    """
    at_once_s = _beside_s(tokens, speed.beside_s)
    most_s = np.maximum(MOST_GAP_PACES * speed.pace_s - speed.decode_s, speed.beside_s[0])
    steps = np.maximum(np.ceil(np.maximum(at_once_s / most_s, tokens / crowd.step_tokens)), 1.0)
    soonest_s = at_once_s + speed.decode_s * steps
    lent_s = np.minimum(speed.decode_s / np.maximum(speed.pace_s - speed.decode_s, LEAST_S), 10.0) * crowd.credit_s
    paced_s = tokens / speed.rate - lent_s
    return np.asarray(np.maximum(soonest_s, paced_s))


def _free_s(speed: _Speed, alone_s: Array, arriving_tokens_per_s: Array) -> Array:
    """A token's time where no prompt waits: as much longer than a step of answers alone as prompts keep coming."""
    per_token_s = (speed.beside_s[3] - speed.beside_s[2]) / _SPANS_TOKENS[2]
    return np.asarray(alone_s / (1.0 - np.minimum(arriving_tokens_per_s * per_token_s, MOST_BUSY)))


def _tpot_s(free_s: Array, pace_s: Array, paced_share: Array) -> Array:
    """At the pace for as long as prompts wait, then as it can be, but never behind the pace."""
    free_s = np.minimum(free_s, pace_s)
    return np.asarray(free_s + paced_share * (pace_s - free_s))


def _p_met(slo: Slo, ask: Ask, answer: _Answer, unseen_s: Array, deviation: float | Array) -> Array:
    """That all targets are kept. Lens lengthens no step beyond what the TPOT target allows: it is broken where answers alone break it.

    Args:
        unseen_s: by so much a first token is off, since the state is old.
        deviation: of a time to first token, relative.
    """
    ttft_s, tpot_s, alone_s = answer
    off_s = np.hypot(deviation * ttft_s, unseen_s)
    p_met = np.ones_like(ttft_s)
    if slo.ttft_s is not None:
        p_met = p_met * _normal((slo.ttft_s - ttft_s) / off_s)
    if slo.tpot_s is not None and ask.output_tokens > 1:
        p_met = p_met * _normal(np.log(slo.tpot_s / alone_s) / TPOT_DEVIATION)
    if slo.e2e_s is not None:
        e2e_s = ttft_s + (ask.output_tokens - 1) * tpot_s
        p_met = p_met * _normal((slo.e2e_s - e2e_s) / np.hypot(off_s, deviation * e2e_s))
    return p_met


def _normal(deviates: Array) -> Array:
    """The normal distribution function, as Bowling et al. 2009 approximate it by a logistic one, to within 0.0002."""
    return np.asarray(
        1.0 / (1.0 + np.exp(-np.minimum(np.maximum(deviates * (1.5976 + 0.07056 * deviates * deviates), -50.0), 50.0)))
    )


def _others_broken(crowd: Crowd, kept: Array, kept_beside: Array) -> Array:
    """Promises to those waiting that no more fit beside this prompt, which lens then gives up; the mean of two ways that it may turn out."""
    size_tokens = np.maximum(crowd.tokens_by_due / np.maximum(crowd.requests_by_due, 1.0), 1.0)
    lost_tokens = np.maximum(kept - kept_beside, 0.0).mean(axis=0)
    broken: Array = (lost_tokens / size_tokens).sum(axis=0)
    return broken


def _within(values: Array, spans: Array) -> Array:
    """How much of each span lies before its value, from none to all of it."""
    return np.minimum(np.maximum(values / spans, 0.0), 1.0)


def _generations_until_room(crowd: Crowd, ask: Ask) -> Array:
    """How long until the request has a slot and KV blocks, in durations of an answer: all of them come free in one."""
    slots_short = crowd.decodes + crowd.requests_ahead + 1.0 - crowd.max_running
    wanted_tokens = ask.prompt_tokens + min(ask.most_output_tokens or RESERVED_OUTPUT_TOKENS, RESERVED_OUTPUT_TOKENS)
    blocks_short = np.ceil(wanted_tokens / crowd.block_tokens) - crowd.blocks_free
    return np.maximum(np.maximum(slots_short / crowd.max_running, blocks_short / crowd.blocks_total), 0.0)
