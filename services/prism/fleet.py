"""The fleet as a request finds it: every engine's state and step model as last read, and what time it is by the clock of both."""

import math
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import compress
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from services.prism.engine_row import Array, Rows, accepts, context_tokens, row_of, rows_of
from services.prism.pending import Pending
from shared.engine_state import EngineState
from shared.forecast import ModelHealth
from shared.names import ENGINE_KEY_LIFETIME_S
from shared.steptime import PRIOR, StepModel


class EngineView(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One engine as the router sees it; the same value for as long as nothing new is read of it."""

    state: EngineState
    model: StepModel = PRIOR
    health: ModelHealth = ModelHealth.COLD
    mape: float | None = None
    steps_learned: int = 0
    capacity_tokens_per_s: float = 0.0
    """The most that it has been seen to run of late; 0 where nothing has been seen."""
    forecast_written_at_s: float = -math.inf
    """By Redis TIME, as the state's `announced_at_s`; where there never was a forecast, infinitely long ago."""

    def state_age_s(self, now_s: float) -> float:
        """How old its state is at a Redis TIME."""
        return max(now_s - self.state.announced_at_s, 0.0)

    def forecast_age_s(self, now_s: float) -> float:
        """How old its forecast is at a Redis TIME; infinite where there never was one."""
        return max(now_s - self.forecast_written_at_s, 0.0)

    @cached_property
    def row(self) -> Array:
        """As `row_of` has it; made once, since a router has hundreds of engines."""
        return row_of(self.state, self.model, self.health, self.forecast_written_at_s)

    @property
    def idle_row(self) -> Array:
        """As `row` would be if nobody were at the engine."""
        idle = msgspec.structs.replace(
            self.state,
            kv_blocks_free=self.state.kv_blocks_total,
            decode_seqs=0,
            prefill_seqs=0,
            kv_tokens=0,
            waiting_requests=0,
            waiting_prefill_tokens=0,
            prefill_tokens_by_due=(),
            prefills_by_due=(),
            arriving_tokens_per_s=(),
            arriving_per_s=0.0,
            credit_ms=0.0,
            in_flight_ms=0.0,
        )
        return row_of(idle, self.model, self.health, self.forecast_written_at_s)

    @cached_property
    def accepts(self) -> bool:
        """Whether it may be given new requests."""
        return accepts(self.state)

    @cached_property
    def context_tokens(self) -> int:
        """The most tokens that a prompt and its answer may have together."""
        return context_tokens(self.state)


class Pool(NamedTuple):
    """Engines in order of their names, also as columns: what is asked of each of hundreds is asked of an array."""

    views: tuple[EngineView, ...]
    names: tuple[str, ...]
    models: tuple[str, ...]
    """Of each, the model that it has."""
    rows: Rows
    """Of each, the `EngineView.row`."""

    @classmethod
    def of(cls, views: Sequence[EngineView]) -> "Pool":
        """Of these."""
        return cls(
            tuple(views),
            tuple([view.state.engine for view in views]),
            tuple([view.state.model for view in views]),
            rows_of([view.row for view in views]),
        )

    def having(self, model: str) -> "Pool":
        """Those that have the model."""
        if self.models.count(model) == len(self.models):
            return self
        return self.where(np.array([of_engine == model for of_engine in self.models], np.bool_))

    def where(self, mask: NDArray[np.bool_]) -> "Pool":
        """Those for which it is true."""
        if mask.all():
            return self
        return Pool(
            tuple(compress(self.views, mask)),
            tuple(compress(self.names, mask)),
            tuple(compress(self.models, mask)),
            self.rows[mask],
        )

    @property
    def places(self) -> Mapping[str, int]:
        """By name."""
        return _places(self.names)

    def view_of(self, name: str) -> EngineView | None:
        """The engine of this name, if it is there."""
        place = self.places.get(name)
        return None if place is None else self.views[place]

    def but(self, names: Collection[str]) -> "Pool":
        """All but these."""
        if not names:
            return self
        return self.where(np.array([name not in names for name in self.names], np.bool_))


@lru_cache(maxsize=16)
def _places(names: tuple[str, ...]) -> Mapping[str, int]:
    """They are the same for as long as nobody comes or goes."""
    return {name: place for place, name in enumerate(names)}


NOBODY = Pool.of(())


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """All engines there are, at one instant."""

    pool: Pool = NOBODY
    reserved: Mapping[str, Pending] | None = None
    """By engine, where there are any; None while nobody can say, as Redis is away. Another mapping when anything has changed."""
    now_s: float = 0.0
    """Redis TIME, as well as it is known."""
    age_s: float = math.inf
    """Since Redis last answered; infinite before it ever did."""

    @property
    def engines(self) -> tuple[EngineView, ...]:
        """Those of the pool."""
        return self.pool.views

    @property
    def known(self) -> bool:
        """Whether Redis ever answered."""
        return self.age_s < math.inf

    @property
    def stale(self) -> bool:
        """Whether the loads in it are too old to foresee anything from."""
        return self.age_s > ENGINE_KEY_LIFETIME_S
