"""What a routing policy is told and what it answers; `policies` has them by name."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from itertools import repeat
from typing import NamedTuple, TypeVar

from services.prism.calibration import UNCORRECTED, EngineErrors, Errors
from services.prism.dispatches import NO_LOAD, Load
from services.prism.fleet import EngineView, Pool
from services.prism.prompt_size import Ask
from shared.slo import Slo


class Reason(StrEnum):
    """Why that engine."""

    LEAST_PREDICTED = "least-predicted"
    NEAR_TIE = "near-tie"
    ONLY_ENGINE = "only-engine"
    EXPLORE = "explore"
    LEAST_OUTSTANDING = "least-outstanding"
    """Redis is away and loads are not known."""
    POLICY = "policy"
    """One of those to compare with said so."""


class Question(NamedTuple):
    """A request, and the engines that may have it: at least one."""

    pool: Pool
    known: Mapping[str, Load]
    """By engine, what this replica knows beyond its state, where there is anything."""
    ask: Ask
    slo: Slo
    draw: float
    """A random number in [0, 1)."""
    turn: int
    """Requests that this replica has routed before."""
    now_s: float = 0.0
    """By the clock that the engines' times are of."""
    cached_tokens: Sequence[int] = ()
    """Of the request's prompt, by engine, what need not be computed there; empty: nothing anywhere."""
    errors: EngineErrors | None = None
    """Of predictions, by engine, as they have shown; None where nobody has looked."""

    @property
    def engines(self) -> Sequence[EngineView]:
        """In order of their names."""
        return self.pool.views

    @property
    def loads(self) -> Sequence[Load]:
        """What is known of each."""
        return list(map(self.known.get, self.pool.names, repeat(NO_LOAD)))


class Pick(NamedTuple):
    """The engine chosen; predictions are None where nothing was foreseen."""

    place: int
    """In `Question.engines`."""
    reason: Reason
    ttft_s: float | None = None
    tpot_s: float | None = None
    p_met: float | None = None
    best_other_p_met: float | None = None
    """Of the engines not taken."""
    correction: Errors = UNCORRECTED
    """Whose factors are in the predictions."""


class Refusal(NamedTuple):
    """No engine: wherever the request went, fewer promises would be kept than without it."""

    retry_after_s: float
    hopeless: bool
    """Whether it would be no better if the engines were idle."""


Policy = Callable[[Question], Pick | Refusal]
"""Pure: the same question has the same answer."""

T = TypeVar("T")


def at(items: Sequence[T], draw: float) -> T:
    """The item that a number in [0, 1) falls on."""
    return items[int(draw * len(items))]
