"""Our policy: the engine where the fewest promises are expected to be broken, as foreseen for each of them. Pure."""

import math

import numpy as np

from services.prism.calibration import Errors
from services.prism.compiled import compiled
from services.prism.engine_row import Array, rows_of
from services.prism.foresee import Foreseen, foresee
from services.prism.pending import NOTHING
from services.prism.policy import Pick, Question, Reason, Refusal, at
from shared.forecast import ModelHealth
from shared.pacing import REFERENCE_TPOT_S, first_due_s

PRESSING = 4.0
"""The power of an engine's pressure that delay there breaks promises with: next to none on one that is half busy."""
COST_OF_WAITING = 0.01
"""Of the promise, what a request costs that uses all its time: where promises are safe, the faster engine is the better."""
NEAR_TIE_RATIO = 1.02
NEAR_TIE_COST = 1e-4
"""Costs so close are the same to a client; taking either keeps replicas from herding."""
LEAST_GAIN = 0.001
"""So many promises more an engine must be expected to keep with a request than without it; with less hope it is better told at once."""
LEAST_RETRY_S, MOST_RETRY_S = 0.1, 30.0
HOPELESS_P_MET = 0.05
"""If no engine could promise more were it idle, there is no use in asking again."""
EXPLORED_SHARE = 0.1
"""Of the requests that can afford it. One answer is steps enough to warm a model, so one request in ten finds every
unknown engine soon, and no more than that is put at risk."""
AFFORDABLE_P_MET = 0.5
"""Foreseen by what is presumed of the engine, which is cautious: a request that keeps its promise even so has slack."""
MOST_EXPLORING_REQUESTS = 4
"""That this replica has at an engine at once before it stops exploring it."""


def foresighted(question: Question) -> Pick | Refusal:
    """The engine with the least cost; near-ties at random, and now and then one that is not known yet."""
    foreseen = foresee(
        question.pool.rows,
        _on_their_way(question),
        question.ask,
        question.slo,
        question.now_s,
        question.cached_tokens,
        question.errors,
    )
    slo = question.slo
    given_s = first_due_s(slo, question.ask.likely_tokens)
    costs, least, most_gained = _weigh(foreseen, given_s, slo.tpot_s or REFERENCE_TPOT_S)
    if _is_better_refused(question, most_gained):
        retry_after_s = float(np.clip(foreseen.backlog_s.min(), LEAST_RETRY_S, MOST_RETRY_S))
        return Refusal(retry_after_s, hopeless=_is_hopeless(question))
    index, reason = _pick(question, costs, least, foreseen.p_met)
    return Pick(
        index,
        reason,
        float(foreseen.ttft_s[index]),
        float(foreseen.tpot_s[index]),
        float(foreseen.p_met[index]),
        _best_other(foreseen.p_met, index) if len(costs) > 1 else None,
        Errors(ttft_factor=float(foreseen.ttft_factor[index]), tpot_factor=float(foreseen.tpot_factor[index])),
    )


def _on_their_way(question: Question) -> Array | None:
    places, pending, places_by_name = [], [], question.pool.places
    for name, load in question.known.items():
        if load.pending is not NOTHING and (place := places_by_name.get(name)) is not None:
            places.append(place)
            pending.append(load.pending.as_array)
    if not places:
        return None
    on_their_way = np.zeros((len(question.pool.names), *pending[0].shape))
    on_their_way[places] = pending
    return on_their_way


def _is_better_refused(question: Question, most_gained: float) -> bool:
    """Whether fewer promises would be kept with it than without it, on every engine; what an engine cannot do is known of no cold one."""
    if not question.slo.promises or most_gained >= LEAST_GAIN:
        return False
    return all(engine.health is not ModelHealth.COLD for engine in question.engines)


@compiled
def _best_other(p_met: Array, index: int) -> float:
    """The most of all but one."""
    best = 0.0
    for place in range(len(p_met)):
        if place != index:
            best = max(best, p_met[place])
    return best


def _is_hopeless(question: Question) -> bool:
    idle = rows_of([engine.idle_row for engine in question.engines])
    foreseen = foresee(idle, None, question.ask, question.slo, question.now_s)
    return bool(foreseen.p_met.max() < HOPELESS_P_MET)


@compiled
def _weigh(foreseen: Foreseen, given_s: float, pace_s: float) -> tuple[Array, float, float]:
    """By engine, promises expected to be broken: the request's own, of those waiting, and of those to come; the least; and the most gained.

    Those to come: as long as an engine has no time left, every second that it loses breaks the promises that come to it in a second.
    Gained is the request's own promise, less those of others that break for it.

    Args:
        given_s: for the first token.
        pace_s: for every other.
    """
    costs = np.empty(len(foreseen.p_met))
    least, most_gained = math.inf, -math.inf
    for place in range(len(costs)):
        gained = foreseen.p_met[place] - foreseen.others_broken[place]
        to_come = foreseen.delay_s[place] * foreseen.arriving_per_s[place] * foreseen.pressure[place] ** PRESSING
        waiting = COST_OF_WAITING * max(foreseen.ttft_s[place] / given_s, foreseen.tpot_s[place] / pace_s)
        costs[place] = 1.0 - gained + to_come + waiting
        least, most_gained = min(least, costs[place]), max(most_gained, gained)
    return costs, least, most_gained


def _pick(question: Question, costs: Array, least: float, p_met: Array) -> tuple[int, Reason]:
    if len(question.engines) == 1:
        return 0, Reason.ONLY_ENGINE
    explores = question.draw < EXPLORED_SHARE
    share_drawn = question.draw if explores else question.draw - EXPLORED_SHARE
    draw = share_drawn / (EXPLORED_SHARE if explores else 1 - EXPLORED_SHARE)
    if explores and (unknown := _unknown(question, p_met)):
        return at(unknown, draw), Reason.EXPLORE
    close = np.flatnonzero(costs <= max(least * NEAR_TIE_RATIO, least + NEAR_TIE_COST)).tolist()
    return at(close, draw), Reason.LEAST_PREDICTED if len(close) == 1 else Reason.NEAR_TIE


def _unknown(question: Question, p_met: Array) -> list[int]:
    """Engines not known yet that this request can afford to try."""
    return [
        index
        for index, (engine, load) in enumerate(zip(question.engines, question.loads, strict=True))
        if engine.health in (ModelHealth.COLD, ModelHealth.WARMING)
        and p_met[index] >= AFFORDABLE_P_MET
        and load.outstanding_requests < MOST_EXPLORING_REQUESTS
    ]
