"""The forecast of one engine, forecaster → Redis → lens and prism: one small JSON value that a person can read."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from shared.steptime import FEATURES, PRIOR, StepModel
from shared.wire import Message


class ModelHealth(StrEnum):
    """How far a step model can be trusted."""

    COLD = "cold"
    WARMING = "warming"
    HEALTHY = "healthy"
    DRIFTING = "drifting"


class ResidualQuantiles(msgspec.Struct, frozen=True):
    """Of actual over predicted step time."""

    p05: float
    p50: float
    p95: float


class Forecast(Message, frozen=True, kw_only=True):
    """What the forecaster knows of one engine. It does not expire: a reader judges it by its age."""

    engine: str
    written_at_s: float
    """Redis TIME at writing; ages are taken from the same clock."""
    health: ModelHealth
    steps_learned: int
    mape: float | None
    """Mean |actual − predicted| / actual of late, predicted before learning; a fraction, None before any step."""
    coefficients_ms: Mapping[str, float]
    """Of each feature in `steptime.FEATURES`."""
    uncertainty_ms: Mapping[str, float]
    """Standard deviation of each coefficient."""
    floor_ms: float
    residual_quantiles: ResidualQuantiles
    capacity_tokens_per_s: float
    """The most tokens a second that a step has been seen to run of late."""

    def step_model(self) -> StepModel:
        """The step model that this forecast carries; the prior while the engine is cold."""
        if self.health is ModelHealth.COLD:
            return PRIOR
        return StepModel(
            coefficients_s=tuple(self.coefficients_ms.get(name, 0.0) / 1e3 for name in FEATURES),
            floor_s=self.floor_ms / 1e3,
            upper_ratio=self.residual_quantiles.p95,
        )
