"""Which engine gets a request: filter the fleet, let a policy pick from what is left."""

from collections.abc import Collection, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import msgspec

from services.prism.calibration import UNCORRECTED, Calibration, Errors
from services.prism.compiled import compiled
from services.prism.dispatches import NO_LOAD, Load
from services.prism.fleet import Fleet, Pool
from services.prism.foresighted import foresighted
from services.prism.policy import Policy, Question, Reason, Refusal, at
from services.prism.prompt_size import Ask
from shared.errors import NotFound, Overloaded, Unavailable
from shared.forecast import ModelHealth
from shared.headers import SHOULD_RETRY
from shared.slo import Slo

__all__ = ["LEAST_TARGET_LEFT_S", "MOST_TRIES", "RETRY_AFTER_S", "Reason", "Route", "choose", "what_is_left"]

MOST_TRIES = 3
"""Engines that are asked before a request is given up."""
LEAST_TARGET_LEFT_S = 0.001
"""A budget that is spent is still passed on as one: lens takes no target of nothing."""
RETRY_AFTER_S = 1.0
"""When to ask again where nobody knows better."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. Predictions are None where nothing could be foreseen."""

    engine: str
    url: str
    reason: Reason
    predicted_ttft_s: float | None = None
    predicted_tpot_s: float | None = None
    p_met: float | None = None
    """How probable it was that the request would meet all its targets there."""
    best_other_p_met: float | None = None
    """The same of the engine but this one where it was most probable; None where there was no other."""
    presumed_p_met: float | None = None
    """By which it was chosen, before it was corrected by how such chances have come true: doubt is a reason to spread requests."""
    correction: Errors = UNCORRECTED
    """The predictions are what was foreseen times its factors."""
    model_known: bool = True
    """Whether the engine's step model was learned well enough for its predictions to be judged."""
    state_age_s: float | None = None
    """Of what was known of the engine's load."""
    cached_tokens: int = 0
    """Of the prompt, what need not be computed there."""


def choose(  # noqa: PLR0913 - all that a decision rests on
    fleet: Fleet,
    loads: Mapping[str, Load],
    ask: Ask,
    slo: Slo,
    *,
    model: str,
    draw: float,
    turn: int = 0,
    tried: frozenset[str] = frozenset(),
    models_of_late: Collection[str] = (),
    policy: Policy = foresighted,
    cached_blocks: Mapping[str, int] = MappingProxyType({}),
    calibration: Calibration | None = None,
) -> Route:
    """The engine for this request.

    Args:
        loads: by engine, what this replica knows beyond the fleet's states.
        draw: a random number in [0, 1).
        turn: requests that this replica has routed before.
        tried: engines that have failed this request already.
        models_of_late: of which engines were there not long ago, and may return.
        policy: what picks from the engines that may have it; with stale loads all pick alike.
        cached_blocks: by engine, how many of the prompt's first blocks it has.
        calibration: how predictions have come true, by which they are corrected; None: not at all.

    Raises:
        NotFound: no engine of the fleet has the model, or had it of late.
        Unavailable: none of those that have it can take a request.
        NotNow, Overloaded: the policy gives it to none: it would break more promises than it keeps.
    """
    pool = _permitted(fleet, loads, ask, model, tried, known=bool(tried) or model in models_of_late)
    if fleet.stale:
        return _least_outstanding(pool, loads, draw, fleet.now_s)
    cached_tokens = [ask.tokens_of(cached_blocks.get(name, 0)) for name in pool.names] if cached_blocks else ()
    errors = None if calibration is None else calibration.of_engines(pool.names)
    pick = policy(Question(pool, loads, ask, slo, draw, turn, fleet.now_s, cached_tokens, errors))
    if isinstance(pick, Refusal):
        raise _overloaded(pick)
    engine = pool.views[pick.place]
    model_known = engine.health not in (ModelHealth.COLD, ModelHealth.WARMING)

    def told(p_met: float | None) -> float | None:
        if p_met is None or calibration is None:
            return p_met
        return calibration.promises.told(p_met, model_known=model_known)

    return Route(
        engine=engine.state.engine,
        url=engine.state.url,
        reason=pick.reason,
        predicted_ttft_s=pick.ttft_s,
        predicted_tpot_s=pick.tpot_s,
        p_met=told(pick.p_met),
        best_other_p_met=told(pick.best_other_p_met),
        presumed_p_met=pick.p_met,
        correction=pick.correction,
        model_known=model_known,
        state_age_s=engine.state_age_s(fleet.now_s),
        cached_tokens=cached_tokens[pick.place] if cached_tokens else 0,
    )


class NotNow(Overloaded):
    """No engine can keep the targets of a request now.

    Attributes:
        retry_after_s: when that is foreseen to be otherwise.
    """

    code = "targets_not_met"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s


def _overloaded(refusal: Refusal) -> Overloaded:
    if refusal.hopeless:
        message = "no engine could keep the targets of this request, were it idle"
        return Overloaded(message, code="targets_out_of_reach", headers={SHOULD_RETRY: "false"})
    message = "no engine can keep the targets of this request now without breaking other promises"
    return NotNow(message, refusal.retry_after_s)


def what_is_left(slo: Slo, elapsed_s: float) -> Slo:
    """The targets, of those that count from arrival what is left."""
    ttft_s, e2e_s = (
        None if target_s is None else max(target_s - elapsed_s, LEAST_TARGET_LEFT_S)
        for target_s in (slo.ttft_s, slo.e2e_s)
    )
    return msgspec.structs.replace(slo, ttft_s=ttft_s, e2e_s=e2e_s)


def _permitted(
    fleet: Fleet, loads: Mapping[str, Load], ask: Ask, model: str, tried: frozenset[str], *, known: bool
) -> Pool:
    """The engines that may be chosen: at least one.

    Args:
        known: whether the model was there not long ago.
    """
    having_model = fleet.pool.having(model)
    if not having_model.views and not known:
        if not fleet.engines:
            problem = "no engine is in the fleet" if fleet.known else "the fleet is not known: Redis is away"
            raise Unavailable(problem, code="no_engine", retry_after_s=RETRY_AFTER_S)
        # Which there are is for each client to ask: not every key may know of all.
        message = f"the model {model!r} does not exist here; GET /v1/models tells which do"
        raise NotFound(message, param="model", code="model_not_found")
    is_suspect = any(map(_SUSPECT, loads.values()))
    wanted_tokens = ask.prompt_tokens + (ask.most_output_tokens or 1)
    if not (tried or is_suspect) and having_model.views and _all_permit(having_model.rows, wanted_tokens):
        return having_model  # as nearly always
    accepting = having_model.where(having_model.rows["accepts"] > 0.0).but(tried)
    if not accepting.views:
        failed = f" (failed: {', '.join(sorted(tried))})" if tried else ""
        raise Unavailable(
            f"no engine with the model {model!r} can answer now{failed}",
            code="engines_away",
            retry_after_s=RETRY_AFTER_S,
        )
    # If none is large enough, the largest: the size is an estimate, lens knows.
    context_tokens = accepting.rows["context_tokens"]
    fitting = accepting.where(context_tokens >= min(wanted_tokens, context_tokens.max()))
    trusted = fitting.but({name for name, load in loads.items() if load.suspect} if is_suspect else ())
    return trusted if trusted.views else fitting


_SUSPECT = attrgetter("suspect")


@compiled
def _all_permit(rows: Any, wanted_tokens: float) -> bool:
    """Whether all accept requests and have a context that is large enough."""
    for place in range(len(rows)):
        if not rows[place].accepts or rows[place].context_tokens < wanted_tokens:
            return False
    return True


def _least_outstanding(pool: Pool, loads: Mapping[str, Load], draw: float, now_s: float) -> Route:
    outstanding = [loads.get(name, NO_LOAD).outstanding_requests for name in pool.names]
    fewest = min(outstanding)
    engine = at([e for e, count in zip(pool.views, outstanding, strict=True) if count == fewest], draw)
    return Route(
        engine=engine.state.engine,
        url=engine.state.url,
        reason=Reason.LEAST_OUTSTANDING,
        state_age_s=engine.state_age_s(now_s),
    )
