"""The forecast of one engine, forecaster → Redis → lens and prism: one JSON value that a person can read."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

from shared.steptime import FEATURES, PRIOR, Residuals, StepModel
from shared.wire import Message

Milliseconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]


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
    coefficients_ms: Mapping[str, Milliseconds]
    """Of each feature in `steptime.FEATURES`."""
    uncertainty_ms: Mapping[str, float]
    """Standard deviation of each coefficient."""
    floor_ms: Annotated[float, msgspec.Meta(gt=0.0, le=1e9)]
    decode: Residuals = Residuals()
    """Of decode-only steps."""
    mixed: Residuals = Residuals()
    """Of steps that prefill too."""
    capacity_tokens_per_s: float
    """The most tokens a second that a step has been seen to run of late."""
    doubt_ms: tuple[tuple[Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)], ...], ...] = ()
    """See `steptime.StepModel.doubt_ms`."""

    def step_model(self) -> StepModel:
        """The step model that this forecast carries.

        The prior while the engine is cold, and where the coefficients are of other features than this version knows: half a
        law is worse than none.
        """
        if self.health is ModelHealth.COLD or self.coefficients_ms.keys() != _KNOWN or not self._has_whole_doubt:
            return PRIOR
        return StepModel(
            coefficients_s=tuple(self.coefficients_ms.get(name, 0.0) / 1e3 for name in FEATURES),
            floor_s=self.floor_ms / 1e3,
            decode=self.decode,
            mixed=self.mixed,
            doubt_ms=self.doubt_ms,
        )

    @property
    def _has_whole_doubt(self) -> bool:
        return [len(row) for row in self.doubt_ms] in ([], list(range(1, len(FEATURES) + 1)))


_KNOWN = frozenset(FEATURES)
