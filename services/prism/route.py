"""Which engine gets a request: filter the fleet, let a policy pick from what is left."""

from collections.abc import Mapping, Sequence

import msgspec

from services.prism.dispatches import Load
from services.prism.fleet import EngineView, Fleet
from services.prism.foresighted import foresighted
from services.prism.policy import Policy, Question, Reason, at
from services.prism.prompt_size import Ask
from shared.errors import NotFound, Unavailable
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
    policy: Policy = foresighted,
) -> Route:
    """The engine for this request.

    Args:
        loads: by engine, what this replica knows beyond the fleet's states.
        draw: a random number in [0, 1).
        turn: requests that this replica has routed before.
        tried: engines that have failed this request already.
        policy: what picks from the engines that may have it; with stale loads all pick alike.

    Raises:
        NotFound: no engine of the fleet has the model.
        Unavailable: none of those that have it can take a request.
    """
    engines = _permitted(fleet, loads, ask, model, tried)
    if fleet.stale:
        return _least_outstanding(engines, loads, draw)
    pick = policy(Question(engines, [_load(loads, engine) for engine in engines], ask, slo, draw, turn, fleet.now_s))
    return Route(
        engine=engines[pick.place].state.engine,
        url=engines[pick.place].state.url,
        reason=pick.reason,
        predicted_ttft_s=pick.ttft_s,
        predicted_tpot_s=pick.tpot_s,
    )


def what_is_left(slo: Slo, elapsed_s: float) -> Slo:
    """The targets, of those that count from arrival what is left."""
    ttft_s, e2e_s = (
        None if target_s is None else max(target_s - elapsed_s, LEAST_TARGET_LEFT_S)
        for target_s in (slo.ttft_s, slo.e2e_s)
    )
    return msgspec.structs.replace(slo, ttft_s=ttft_s, e2e_s=e2e_s)


def _permitted(
    fleet: Fleet, loads: Mapping[str, Load], ask: Ask, model: str, tried: frozenset[str]
) -> Sequence[EngineView]:
    """The engines that may be chosen: at least one."""
    having_model = [engine for engine in fleet.engines if engine.state.model == model]
    if not having_model:
        if not fleet.engines:
            problem = "no engine is in the fleet" if fleet.known else "the fleet is not known: Redis is away"
            raise Unavailable(problem, code="no_engine", retry_after_s=RETRY_AFTER_S)
        names = sorted({engine.state.model for engine in fleet.engines})
        message = f"the model {model!r} does not exist here; there are {names}"
        raise NotFound(message, param="model", code="model_not_found")
    accepting = [engine for engine in having_model if engine.accepts and engine.state.engine not in tried]
    if not accepting:
        failed = f" (failed: {', '.join(sorted(tried))})" if tried else ""
        raise Unavailable(
            f"no engine with the model {model!r} can answer now{failed}",
            code="engines_away",
            retry_after_s=RETRY_AFTER_S,
        )
    fitting = _large_enough(accepting, ask)
    return [engine for engine in fitting if not _load(loads, engine).suspect] or fitting


def _large_enough(engines: Sequence[EngineView], ask: Ask) -> Sequence[EngineView]:
    """Those whose context holds the request; if none does, the largest: the size is an estimate, lens knows."""
    wanted_tokens = ask.prompt_tokens + (ask.most_output_tokens or 1)
    most_tokens = max(engine.context_tokens for engine in engines)
    return [engine for engine in engines if engine.context_tokens >= min(wanted_tokens, most_tokens)]


def _least_outstanding(engines: Sequence[EngineView], loads: Mapping[str, Load], draw: float) -> Route:
    outstanding = [_load(loads, engine).outstanding_requests for engine in engines]
    fewest = min(outstanding)
    state = at([e.state for e, count in zip(engines, outstanding, strict=True) if count == fewest], draw)
    return Route(engine=state.engine, url=state.url, reason=Reason.LEAST_OUTSTANDING)


def _load(loads: Mapping[str, Load], engine: EngineView) -> Load:
    return loads.get(engine.state.engine, Load())
