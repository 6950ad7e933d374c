"""Which engine gets a request: filter the fleet, score what is left by what the request would meet there, pick."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec
import numpy as np

from services.prism.dispatches import Load
from services.prism.fleet import EngineView, Fleet
from services.prism.foresee import Array, Foreseen, foresee
from services.prism.prompt_size import Ask
from shared.errors import NotFound, Unavailable
from shared.forecast import ModelHealth
from shared.slo import Slo

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
RETRY_AFTER = {"retry-after": "1"}


class Reason(StrEnum):
    """Why that engine."""

    LEAST_PREDICTED = "least-predicted"
    NEAR_TIE = "near-tie"
    ONLY_ENGINE = "only-engine"
    EXPLORE = "explore"
    LEAST_OUTSTANDING = "least-outstanding"
    """Redis is away and loads are not known."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. Predictions are None where nothing could be foreseen."""

    engine: str
    url: str
    reason: Reason
    predicted_ttft_s: float | None = None
    predicted_tpot_s: float | None = None


def choose(
    fleet: Fleet,
    loads: Mapping[str, Load],
    ask: Ask,
    slo: Slo,
    *,
    model: str,
    draw: float,
    tried: frozenset[str] = frozenset(),
) -> Route:
    """The engine for this request.

    Args:
        loads: by engine, what this replica knows beyond the fleet's states.
        draw: a random number in [0, 1).
        tried: engines that have failed this request already.

    Raises:
        NotFound: no engine of the fleet has the model.
        Unavailable: none of those that have it can take a request.
    """
    engines = _permitted(fleet, loads, ask, model, tried)
    if fleet.stale:
        return _least_outstanding(engines, loads, draw)
    foreseen = foresee(engines, [_load(loads, engine) for engine in engines], ask)
    shares = _shares_of_targets(foreseen, ask, slo)
    index, reason = _pick(engines, loads, shares, draw, without_targets=_has_no_targets(slo))
    return Route(
        engine=engines[index].state.engine,
        url=engines[index].state.url,
        reason=reason,
        predicted_ttft_s=float(foreseen.ttft_s[index]),
        predicted_tpot_s=float(foreseen.tpot_s[index]),
    )


def _permitted(
    fleet: Fleet, loads: Mapping[str, Load], ask: Ask, model: str, tried: frozenset[str]
) -> Sequence[EngineView]:
    """The engines that may be chosen: at least one."""
    having_model = [engine for engine in fleet.engines if engine.state.model == model]
    if not having_model:
        if not fleet.engines:
            problem = "no engine is in the fleet" if fleet.known else "the fleet is not known: Redis is away"
            raise Unavailable(problem, headers=RETRY_AFTER)
        names = sorted({engine.state.model for engine in fleet.engines})
        message = f"the model {model!r} does not exist here; there are {names}"
        raise NotFound(message, param="model", code="model_not_found")
    accepting = [engine for engine in having_model if engine.accepts and engine.state.engine not in tried]
    if not accepting:
        failed = f" (failed: {', '.join(sorted(tried))})" if tried else ""
        raise Unavailable(f"no engine with the model {model!r} can answer now{failed}", headers=RETRY_AFTER)
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
    state = _at([e.state for e, count in zip(engines, outstanding, strict=True) if count == fewest], draw)
    return Route(engine=state.engine, url=state.url, reason=Reason.LEAST_OUTSTANDING)


def _shares_of_targets(foreseen: Foreseen, ask: Ask, slo: Slo) -> Array:
    """By engine, how much of its tightest target the request would use; over 1 breaks a promise."""
    ttft_share = foreseen.ttft_s / (slo.ttft_s or REFERENCE_TTFT_S)
    tpot_share = foreseen.tpot_s / (slo.tpot_s or REFERENCE_TPOT_S)
    shares: Array = np.maximum(ttft_share, tpot_share)
    if slo.e2e_s is not None:
        shares = np.maximum(shares, (foreseen.ttft_s + (ask.output_tokens - 1) * foreseen.tpot_s) / slo.e2e_s)
    return shares


def _pick(
    engines: Sequence[EngineView], loads: Mapping[str, Load], shares: Array, draw: float, *, without_targets: bool
) -> tuple[int, Reason]:
    if len(engines) == 1:
        return 0, Reason.ONLY_ENGINE
    explores = draw < EXPLORED_SHARE
    draw = draw / EXPLORED_SHARE if explores else (draw - EXPLORED_SHARE) / (1 - EXPLORED_SHARE)
    if explores:
        unknown = [
            index
            for index, engine in enumerate(engines)
            if engine.health in (ModelHealth.COLD, ModelHealth.WARMING)
            and (without_targets or shares[index] <= 1)
            and _load(loads, engine).outstanding_requests < MOST_EXPLORING_REQUESTS
        ]
        if unknown:
            return _at(unknown, draw), Reason.EXPLORE
    best = shares.min()
    close = np.flatnonzero(shares <= max(best * NEAR_TIE_RATIO, best + NEAR_TIE_SHARE))
    return _at(close.tolist(), draw), Reason.LEAST_PREDICTED if len(close) == 1 else Reason.NEAR_TIE


def _has_no_targets(slo: Slo) -> bool:
    return slo.ttft_s is None and slo.tpot_s is None and slo.e2e_s is None


def _load(loads: Mapping[str, Load], engine: EngineView) -> Load:
    return loads.get(engine.state.engine, Load())


T = TypeVar("T")


def _at(items: Sequence[T], draw: float) -> T:
    return items[int(draw * len(items))]
