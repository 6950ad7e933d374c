"""The fleet as a request finds it: every engine's state and step model as last read, and what time it is by the clock of both."""

import math
from collections.abc import Mapping
from functools import cached_property

import msgspec

from services.prism.engine_row import Array, row_of
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
        return self.state.serving and not self.state.draining

    @cached_property
    def context_tokens(self) -> int:
        """The most tokens that a prompt and its answer may have together."""
        return min(self.state.max_context_tokens, self.state.kv_blocks_total * self.state.kv_block_tokens)


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """All engines in the pool."""

    engines: tuple[EngineView, ...] = ()
    """In order of their names."""
    reserved: Mapping[str, Pending] | None = None
    """By engine, where there are any; None while nobody can say, as Redis is away. Another mapping when anything has changed."""
    now_s: float = 0.0
    """Redis TIME, as well as it is known."""
    age_s: float = math.inf
    """Since Redis last answered; infinite before it ever did."""

    @property
    def known(self) -> bool:
        """Whether Redis ever answered."""
        return self.age_s < math.inf

    @property
    def stale(self) -> bool:
        """Whether the loads in it are too old to foresee anything from."""
        return self.age_s > ENGINE_KEY_LIFETIME_S
