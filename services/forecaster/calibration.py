"""How far actual durations lie from foreseen ones, in one regime: a factor that follows, and quantiles of known coverage."""

import math
from typing import Annotated

import msgspec

from services.forecaster.drift import DriftTest
from shared.steptime import Residuals

TAIL = 0.05
"""On each side of a 90 % interval."""
QUANTILE_STEP = 0.05
"""How far a miss moves a quantile, in standard deviations."""
NORMAL_QUANTILE = 1.645
NORMAL_MEDIAN = 0.6745
"""Of |z|, where z is standard normal: the noise is known by its median, which stalls do not move."""
FIRST_DEVIATION = 0.02
"""Presumed before any step."""
LEAST_DEVIATION = 0.002
"""No engine is so even that less would be noise rather than luck."""
NOISE_GAIN = 0.04
FIRST_STEPS = 4
"""That the presumed deviation counts for."""
FACTOR_RANGE = (0.7, 1.4)
"""A single step may say no more; a change of the engine's speed is the drift test's to see."""
ERROR_GAIN = 0.02


Positive = Annotated[float, msgspec.Meta(gt=0.0, le=100.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]


class FactorState(msgspec.Struct, frozen=True, kw_only=True):
    """A factor as plain numbers."""

    value: Positive
    error: NotNegative


class Factor:
    """Actual over summed terms, of late.

    Attributes:
        value: the factor.
        error: mean |ln(actual ÷ foreseen)| with it, of late.
    """

    def __init__(self, gain: float) -> None:
        """`gain`: how fast it follows, a fraction a step."""
        self.value = 1.0
        self.error = 0.0
        self._gain = gain

    @property
    def state(self) -> FactorState:
        """To persist."""
        return FactorState(value=self.value, error=self.error)

    def restore(self, state: FactorState) -> None:
        """Go on from what was learned."""
        self.value, self.error = state.value, state.error

    def learn(self, actual_s: float, summed_s: float, residual: float) -> None:
        """Learn a step that took `actual_s` where the terms' sum is `summed_s`, ln(actual ÷ foreseen) being `residual`."""
        self.error += ERROR_GAIN * (abs(residual) - self.error)
        ratio = min(max(actual_s / summed_s, FACTOR_RANGE[0]), FACTOR_RANGE[1])
        self.value += self._gain * (ratio - self.value)


class SpreadState(msgspec.Struct, frozen=True, kw_only=True):
    """A spread as plain numbers."""

    deviation: Positive
    lower: NotNegative
    upper: NotNegative
    heard: NotNegative


class Spread:
    """How residuals r = ln(actual ÷ foreseen) are spread.

    They are measured in units of s = √(σ² + d²), with the noise σ and the model's doubt d about the very step, so what is
    learned carries over to steps that are less known. The quantiles are tracked so that each is missed one time in
    twenty, whatever the distribution: a miss moves one outward, a hit inward, in the ratio 19 : 1 (quantile tracking, Gibbs
    & Candès 2021; Angelopoulos, Candès & Tibshirani, *Conformal PID Control for Time Series Prediction*, 2023).

    Attributes:
        deviation: σ.
        lower: 0.05 quantile, so many s below 0.
        upper: 0.95 quantile, so many s above 0.
    """

    def __init__(self) -> None:
        self.deviation = FIRST_DEVIATION
        self.lower = self.upper = NORMAL_QUANTILE
        self._heard = 0.0

    @property
    def state(self) -> SpreadState:
        """To persist."""
        return SpreadState(deviation=self.deviation, lower=self.lower, upper=self.upper, heard=self._heard)

    def restore(self, state: SpreadState) -> None:
        """Go on from what was learned."""
        self.deviation, self.lower, self.upper = state.deviation, state.lower, state.upper
        self._heard = state.heard

    def scale(self, doubt: float) -> float:
        """s, by d²."""
        return math.sqrt(self.deviation * self.deviation + doubt)

    def learn(self, residual: float, doubt: float) -> float:
        """Learn a step by its residual r and d²; r in units of s comes back."""
        noise = self.deviation * self.deviation
        units = residual / self.scale(doubt)
        told = noise / (noise + doubt)
        self._heard += told
        gain = told * max(NOISE_GAIN, 1.0 / (FIRST_STEPS + self._heard))
        wider = 1.0 + (gain if abs(units) > NORMAL_MEDIAN else -gain)
        self.deviation = max(self.deviation * wider, LEAST_DEVIATION)
        self.lower = max(self.lower + QUANTILE_STEP * ((units < -self.lower) - TAIL), 0.0)
        self.upper = max(self.upper + QUANTILE_STEP * ((units > self.upper) - TAIL), 0.0)
        return units


LATEST_GAIN = 0.25
"""Of the factor that follows step by step."""
LASTING_GAIN = 0.005


class RegimeState(msgspec.Struct, frozen=True, kw_only=True):
    """A regime as plain numbers."""

    latest: FactorState
    lasting: FactorState
    next_spread: SpreadState
    later_spread: SpreadState
    drift_sums: tuple[NotNegative, NotNegative]


class Regime:
    """Decode-only steps, or mixed ones: their factors and spreads.

    The next step is foreseen by whichever factor erred less of late: on GPUs residuals of neighbouring steps have much in
    common (0.7, of steps fifty apart nothing), and the latest factor follows them; where they have not it would chase noise.
    Later steps are foreseen by the lasting factor.

    Attributes:
        latest: the factor that follows step by step.
        lasting: the one that does not.
        next_spread: about what was foreseen of the next step.
    """

    def __init__(self) -> None:
        self.latest = Factor(LATEST_GAIN)
        self.lasting = Factor(LASTING_GAIN)
        self.next_spread = Spread()
        self._later_spread = Spread()
        self._drift = DriftTest()

    @property
    def next_factor(self) -> float:
        """That the next step is foreseen by."""
        return (self.latest if self.latest.error < self.lasting.error else self.lasting).value

    @property
    def residuals(self) -> Residuals:
        """For later steps, as readers take it."""
        spread = self._later_spread
        return Residuals(factor=self.lasting.value, deviation=spread.deviation, lower=spread.lower, upper=spread.upper)

    @property
    def state(self) -> RegimeState:
        """To persist."""
        return RegimeState(
            latest=self.latest.state,
            lasting=self.lasting.state,
            next_spread=self.next_spread.state,
            later_spread=self._later_spread.state,
            drift_sums=self._drift.sums,
        )

    def restore(self, state: RegimeState) -> None:
        """Go on from what was learned."""
        self.latest.restore(state.latest)
        self.lasting.restore(state.lasting)
        self.next_spread.restore(state.next_spread)
        self._later_spread.restore(state.later_spread)
        self._drift.sums = state.drift_sums

    def reset_factors(self) -> None:
        """The sum of the terms follows a change of its own accord now."""
        self.latest.value = self.lasting.value = 1.0

    def learn(self, actual_s: float, summed_s: float, next_s: float, later_s: float, doubt: float) -> bool:
        """Learn a step; whether the engine's speed in this regime has changed.

        Args:
            actual_s: its duration.
            summed_s: the sum of its terms.
            next_s: what was foreseen of it as the next step.
            later_s: what the lasting factor foresaw.
            doubt: d², see `shared.steptime.doubt_squares`.
        """
        self.next_spread.learn(math.log(actual_s / next_s), doubt)
        self._later_spread.learn(math.log(actual_s / later_s), doubt)
        residual = math.log(actual_s / summed_s)
        unexplained = residual - math.log(self.lasting.value)
        self.latest.learn(actual_s, summed_s, residual - math.log(self.latest.value))
        self.lasting.learn(actual_s, summed_s, unexplained)
        return self._drift.update(unexplained / self._later_spread.scale(doubt))
