"""Our policy: the engine where the request would use least of its tightest target, as foreseen for each of them. Pure."""

import numpy as np

from services.prism.foresee import Array, Foreseen, StepTimes, foresee
from services.prism.policy import Pick, Question, Reason, at
from services.prism.prompt_size import Ask
from shared.forecast import ModelHealth
from shared.slo import Slo
from shared.steptime import step_times_s

REFERENCE_TTFT_S = 2.0
REFERENCE_TPOT_S = 0.2
"""Stand for targets that a request lacks, so that it is still served soon; lax beside what interactive use promises."""
NEAR_TIE_RATIO = 1.05
NEAR_TIE_SHARE = 0.005
"""Scores so close are the same to a client; taking either keeps replicas from herding."""
EXPLORED_SHARE = 0.1
"""Of the requests that can afford it. One answer is steps enough to warm a model, so one request in ten finds every
unknown engine soon, and no more than that is put at risk."""
MOST_EXPLORING_REQUESTS = 4
"""That this replica has at an engine at once before it stops exploring it."""


def foresighted(question: Question, step_times: StepTimes = step_times_s) -> Pick:
    """The engine with the least share; near-ties at random, and now and then one that is not known yet.

    Args:
        step_times: how long steps take on these engines; by default as their models say.
    """
    foreseen = foresee(
        question.engines, question.loads, question.ask, question.now_s, step_times, question.cached_tokens
    )
    shares = _shares_of_targets(foreseen, question.ask, question.slo)
    index, reason = _pick(question, shares)
    return Pick(index, reason, float(foreseen.ttft_s[index]), float(foreseen.tpot_s[index]))


def _shares_of_targets(foreseen: Foreseen, ask: Ask, slo: Slo) -> Array:
    """By engine, how much of its tightest target the request would use; over 1 breaks a promise."""
    ttft_share = foreseen.ttft_s / (slo.ttft_s or REFERENCE_TTFT_S)
    tpot_share = foreseen.tpot_s / (slo.tpot_s or REFERENCE_TPOT_S)
    shares: Array = np.maximum(ttft_share, tpot_share)
    if slo.e2e_s is not None:
        shares = np.maximum(shares, (foreseen.ttft_s + (ask.output_tokens - 1) * foreseen.tpot_s) / slo.e2e_s)
    return shares


def _pick(question: Question, shares: Array) -> tuple[int, Reason]:
    if len(question.engines) == 1:
        return 0, Reason.ONLY_ENGINE
    explores = question.draw < EXPLORED_SHARE
    share_drawn = question.draw if explores else question.draw - EXPLORED_SHARE
    draw = share_drawn / (EXPLORED_SHARE if explores else 1 - EXPLORED_SHARE)
    if explores and (unknown := _unknown(question, shares)):
        return at(unknown, draw), Reason.EXPLORE
    best = shares.min()
    close = np.flatnonzero(shares <= max(best * NEAR_TIE_RATIO, best + NEAR_TIE_SHARE))
    return at(close.tolist(), draw), Reason.LEAST_PREDICTED if len(close) == 1 else Reason.NEAR_TIE


def _unknown(question: Question, shares: Array) -> list[int]:
    """Engines not known yet that this request can afford to try."""
    slo = question.slo
    has_no_targets = slo.ttft_s is None and slo.tpot_s is None and slo.e2e_s is None
    return [
        index
        for index, (engine, load) in enumerate(zip(question.engines, question.loads, strict=True))
        if engine.health in (ModelHealth.COLD, ModelHealth.WARMING)
        and (has_no_targets or shares[index] <= 1)
        and load.outstanding_requests < MOST_EXPLORING_REQUESTS
    ]
