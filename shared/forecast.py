"""The forecast of one engine, forecaster → Redis → lens and prism: one JSON value that a person can read."""

from collections.abc import Mapping
from enum import StrEnum

from shared.steptime import FEATURES, PRIOR, Residuals, StepModel
from shared.wire import Message


class ModelHealth(StrEnum):
    """How far a step model can be trusted."""

    COLD = "cold"
    """Nothing is known of the engine; the prior stands in."""
    WARMING = "warming"
    HEALTHY = "healthy"
    DRIFTING = "drifting"
    """The engine's speed changed a moment ago."""


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
    decode: Residuals = Residuals()
    """Of decode-only steps."""
    mixed: Residuals = Residuals()
    """Of steps that prefill too."""
    capacity_tokens_per_s: float
    """The most tokens a second that a step has been seen to run of late."""
    doubt_ms: tuple[tuple[float, ...], ...] = ()
    """See `steptime.StepModel.doubt_ms`."""

    def step_model(self) -> StepModel:
        """The step model that this forecast carries.

        The prior while the engine is cold, and where the coefficients are of features that this version does not know:
        half a law is worse than none.
        """
        if self.health is ModelHealth.COLD or not self.coefficients_ms.keys() <= _KNOWN:
            return PRIOR
        return StepModel(
            coefficients_s=tuple(self.coefficients_ms.get(name, 0.0) / 1e3 for name in FEATURES),
            floor_s=self.floor_ms / 1e3,
            decode=self.decode,
            mixed=self.mixed,
            doubt_ms=self.doubt_ms,
        )


_KNOWN = frozenset(FEATURES)
