"""What would become of a request on each engine, and of the promises made there already, if it were sent there now. Pure.

It follows how lens batches. Answers come first, in steps as long as the tightest of them allows; what they leave of a step is
spent on prompts by what is due first, and a prompt that cannot be on time goes behind those that can. So a prompt waits for
what is due before it, at the rate that the answers leave; what is due after it waits for it; and an answer gets its tokens
at the pace that was promised while there are prompts to compute, and faster when there are none.

A request is foreseen on every engine there is, so this is compiled, one engine after the other.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from services.prism.calibration import EngineErrors
from services.prism.chances import TTFT_DEVIATION, Targets, p_met, told
from services.prism.compiled import compiled
from services.prism.due_order import arrivals_of, due_share, queue_of
from services.prism.engine_row import Array, Rows
from services.prism.pace import Pace, joint_rate, least_prefill_s, pace_of, per_token_s, within
from services.prism.prompt_size import Ask
from services.prism.speeds import REFERENCE_PROMPT_TOKENS
from shared.engine_state import DUE_INTERVALS, RESERVED_OUTPUT_TOKENS
from shared.pacing import PACED_AT, REFERENCE_TPOT_S, first_due_s
from shared.slo import Slo

FRESH_FORECAST_S = 5.0
OLD_FORECAST_S = 60.0
FRESH_STATE_S = 1.0
OLD_STATE_S = 3.0
LEAST_UPPER_RATIO = 1.1
"""However exact a model was, this much may have changed since it was last heard of."""
MOST_BUSY = 0.9
"""Of an engine's time goes to what comes while a request is served, however much has come of late."""
UNSEEN_SHARE = 0.4
"""Of the time since an engine's state was written may have gone to what is not in it: that much a first token is off, too."""
LEAST_S = 1e-9


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


class _Asked(NamedTuple):
    """The request, in plain numbers."""

    prompt_tokens: float
    output_tokens: float
    room_tokens: float
    """That it needs in the cache before it can begin."""
    given_s: float
    """For its first token."""
    pace_s: float
    """At which its answer is to come, but for an E2E target."""
    likely_others: float
    """Tokens behind the first, by which lens paces an answer to an E2E target."""
    targets: Targets
    now_s: float


def foresee(
    rows: Rows,
    on_their_way: Array | None,
    ask: Ask,
    slo: Slo,
    now_s: float,
    cached_tokens: Sequence[int] = (),
    errors: EngineErrors | None = None,
) -> Foreseen:
    """What this request would meet on each of these engines, and do to others there.

    Args:
        rows: of at least one engine.
        on_their_way: to each, that its state does not count: requests, then prompt tokens, by when they are due; None: nothing.
        now_s: by the clock that the engines' times are of.
        cached_tokens: of its prompt, what each has already and need not compute; empty: nothing.
        errors: of what was foreseen of each before, by which this is corrected; None: not at all.
    """
    engines = len(rows)
    asked = _asked_of(ask, slo, now_s)
    if on_their_way is None:
        on_their_way = np.zeros((engines, 2, DUE_INTERVALS))
    cached = np.array(cached_tokens, np.float64) if cached_tokens else np.zeros(engines)
    foreseen = np.empty((len(Foreseen._fields), engines))
    _foresee_each(rows, on_their_way, asked, cached, _NO_ERRORS if errors is None else errors, foreseen)
    return Foreseen(*foreseen)


def _asked_of(ask: Ask, slo: Slo, now_s: float) -> _Asked:
    return _Asked(
        prompt_tokens=float(max(ask.prompt_tokens, 1)),
        output_tokens=float(ask.output_tokens),
        room_tokens=float(ask.prompt_tokens)
        + min(ask.most_output_tokens or RESERVED_OUTPUT_TOKENS, RESERVED_OUTPUT_TOKENS),
        given_s=first_due_s(slo, ask.likely_tokens),
        pace_s=PACED_AT * (slo.tpot_s or REFERENCE_TPOT_S),
        likely_others=float(ask.likely_tokens - 1),
        targets=Targets(*(math.inf if t is None else t for t in (slo.ttft_s, slo.tpot_s, slo.e2e_s))),
        now_s=now_s,
    )


_NO_ERRORS = EngineErrors(*(np.empty(0) for _ in EngineErrors._fields))


@compiled
def _foresee_each(
    rows: Any, on_their_way: Array, asked: _Asked, cached_tokens: Array, errors: EngineErrors, foreseen: Array
) -> None:
    """Fill in `foreseen`, a column an engine in the order of `Foreseen`."""
    for place in range(len(rows)):
        ttft_factor, ttft_deviation, tpot_factor = 1.0, TTFT_DEVIATION, 1.0
        if len(errors.ttft_factor):
            ttft_factor = told(errors.ttft_factor[place], errors.ttft_deviation[place])
            # Times to first token are never thought surer than they would be.
            ttft_deviation = max(errors.ttft_deviation[place], TTFT_DEVIATION)
            tpot_factor = told(errors.tpot_factor[place], errors.tpot_deviation[place])
        of_engine = _foresee_one(
            rows[place], on_their_way[place], asked, cached_tokens[place], ttft_factor, ttft_deviation, tpot_factor
        )
        for measure in range(len(of_engine)):
            foreseen[measure, place] = of_engine[measure]


@compiled
def _foresee_one(
    row: Any,
    on_their_way: Array,
    asked: _Asked,
    cached_tokens: float,
    ttft_factor: float,
    ttft_deviation: float,
    tpot_factor: float,
) -> tuple[float, ...]:
    """As `Foreseen`."""
    more_requests = 0.0
    for interval in range(DUE_INTERVALS):
        more_requests += on_their_way[0, interval]
    requests_ahead = row.requests_ahead + more_requests
    own_tokens = max(asked.prompt_tokens - cached_tokens, 1.0)
    age_s = max(asked.now_s - row.announced_at_s, 0.0)
    caution = _caution(row, age_s, asked.now_s)
    pace = pace_of(row, requests_ahead, more_requests, caution)
    kept_s = caution * row.per_kv_token_s * (asked.prompt_tokens + asked.output_tokens / 2)
    alone_s = caution * (row.alone_s + more_requests * (row.joined_s - row.decode_s)) + kept_s

    # Dues are told from when the state was written.
    queue = queue_of(row, on_their_way, pace.rate, own_tokens, asked.given_s + age_s)
    arrivals = arrivals_of(row, asked.given_s)
    taken = min(arrivals.before_per_s / pace.rate, MOST_BUSY)
    busy = arrivals.tokens_per_s / pace.rate

    attention_s = caution * row.per_attention_work_s * own_tokens * (asked.prompt_tokens - REFERENCE_PROMPT_TOKENS) / 2
    room_s = _generations_until_room(row, requests_ahead, asked.room_tokens) * asked.output_tokens * alone_s
    left_tokens = max(queue.kept_before - pace.rate * age_s, 0.0) + own_tokens
    ttft_s = ttft_factor * (_first_token_s(row, pace, left_tokens, attention_s, taken) + room_s)
    # What is told is what is expected. The chance is judged as if nothing had been worked off since the state was written: where
    # news is late that would be all that waits, and engines that differ much would look alike.
    all_tokens = queue.kept_before + own_tokens
    feared_ttft_s = ttft_factor * (_first_token_s(row, pace, all_tokens, attention_s, taken) + room_s)
    # An engine that nobody is at has nothing to tell, and does so once a second.
    unseen_s = UNSEEN_SHARE * age_s if row.decodes + requests_ahead > 0.0 else 0.0

    # Where no prompt waits a token takes as much longer than a step of answers alone as prompts keep coming.
    free_s = alone_s / (1.0 - min(arrivals.tokens_per_s * per_token_s(pace), MOST_BUSY))
    own_pace_s = _own_pace_s(asked, ttft_s, alone_s)
    answer_pace_s = max(min(pace.there_s, own_pace_s), alone_s)
    paced_share = within((queue.kept_tokens - queue.kept_before) / pace.rate, answer_pace_s * asked.output_tokens)
    presumed_tpot_s = _tpot_s(free_s, answer_pace_s, paced_share)
    tpot_s = _tpot_s(tpot_factor * free_s, answer_pace_s, paced_share)
    rate_with_it = joint_rate(row, pace, own_pace_s)
    slowed = max(1.0 - rate_with_it / pace.rate, 0.0) * min(busy, MOST_BUSY)
    # Lens speeds an answer up that would end late, unless it takes it for a shorter one.
    others = asked.output_tokens - 1.0
    answer_s = others * (alone_s if others <= asked.likely_others else max(min(tpot_s, own_pace_s), alone_s))
    return (
        ttft_s,
        tpot_s,
        p_met(asked.targets, asked.output_tokens, feared_ttft_s, answer_s, alone_s, unseen_s, ttft_deviation),
        queue.others_broken,
        own_tokens / rate_with_it + slowed * asked.output_tokens * tpot_s,
        max(queue.kept_tokens / pace.rate - age_s, 0.0),
        row.arriving_per_s,
        min(max(due_share(row, on_their_way, pace.rate), busy), 1.0),
        ttft_factor,
        tpot_s / max(presumed_tpot_s, LEAST_S),
    )


@compiled
def _caution(row: Any, age_s: float, now_s: float) -> float:
    """What to multiply expected times by: towards the upper quantile as what is known of the engine grows old.

    Where nothing is known of it, the prior is cautious already.
    """
    if row.is_cold:
        return 1.0
    forecast_age_s = now_s - row.forecast_written_at_s
    doubt = max(
        (forecast_age_s - FRESH_FORECAST_S) / (OLD_FORECAST_S - FRESH_FORECAST_S),
        (age_s - FRESH_STATE_S) / (OLD_STATE_S - FRESH_STATE_S),
        row.is_drifting,
    )
    return float(1.0 + min(doubt, 1.0) * (max(row.upper_ratio, LEAST_UPPER_RATIO) - 1.0))


@compiled
def _first_token_s(row: Any, pace: Pace, tokens: float, attention_s: float, taken: float) -> float:
    """Until so many prompt tokens are computed, of which some arrive meanwhile.

    Args:
        attention_s: that they take beyond what tokens do.
        taken: the share of the time that goes to what arrives.
    """
    prefill_s = least_prefill_s(pace, tokens, row.step_tokens, row.credit_s) + attention_s
    return float(row.in_flight_s + max(prefill_s, pace.decode_s) / (1.0 - taken))


@compiled
def _own_pace_s(asked: _Asked, ttft_s: float, alone_s: float) -> float:
    """What lens will pace it at, as `shared.pacing` has it; no step is shorter than its answers take."""
    if asked.targets.e2e_s == math.inf or asked.likely_others < 1.0:
        return float(asked.pace_s)
    by_tpot_s = asked.pace_s if asked.targets.tpot_s < math.inf else math.inf
    by_e2e_s = PACED_AT * max(asked.targets.e2e_s - ttft_s, 0.0) / asked.likely_others
    return float(max(min(by_tpot_s, by_e2e_s), alone_s))


@compiled
def _tpot_s(free_s: float, pace_s: float, paced_share: float) -> float:
    """At the pace for as long as prompts wait, then as it can be, but never behind the pace."""
    free_s = min(free_s, pace_s)
    return free_s + paced_share * (pace_s - free_s)


@compiled
def _generations_until_room(row: Any, requests_ahead: float, room_tokens: float) -> float:
    """How long until the request has a slot and KV blocks, in durations of an answer: all of them come free in one."""
    slots_short = row.decodes + requests_ahead + 1.0 - row.max_running
    blocks_short = math.ceil(room_tokens / row.block_tokens) - row.blocks_free
    return float(max(slots_short / row.max_running, blocks_short / row.blocks_total, 0.0))
