"""How far actual durations lie from foreseen ones in one regime: a factor, the noise, and quantiles of calibrated coverage."""

import math

import msgspec

from shared.steptime import Residuals

TAIL = 0.05
"""On each side of a 90 % interval."""
FACTOR_RANGE = (0.7, 1.4)
"""A single step may say no more; a change of the engine's speed is the drift detector's to see."""
NOISE_GAIN = 0.02
NORMAL_MEDIAN = 0.6745
"""Of |z|, where z is standard normal: the noise is known by its median, which stalls do not move."""
QUANTILE_STEP = 0.05
"""How far a miss moves a quantile, in deviations."""
NORMAL_QUANTILE = 1.645
FIRST_DEVIATION = 0.02
"""Presumed before any step."""
LEAST_DEVIATION = 0.002
"""No engine is so even that less would be noise rather than luck."""
FIRST_STEPS = 4
"""Averaged evenly before gains are constant."""


class CalibrationState(msgspec.Struct, frozen=True, kw_only=True):
    """A calibration as plain numbers."""

    factor: float
    deviation: float
    lower: float
    upper: float
    heard: float


class Calibration:
    """Of one regime and one horizon.

    The quantiles are tracked so that each is missed one time in twenty, whatever the distribution: a miss moves one
    outward, a hit inward, in the ratio 19 : 1 (quantile tracking, Gibbs & Candès 2021; Angelopoulos et al., *Conformal PID
    Control for Time Series Prediction*, 2023). What is tracked is ln(actual ÷ foreseen) in units of
    s = √(σ² + d²), with the noise σ and the model's doubt d about this very step, so they carry over to steps
    that are less known.
    """

    def __init__(self, gain: float) -> None:
        """`gain`: how fast the factor follows, a fraction a step."""
        self.factor = 1.0
        self.lower = self.upper = NORMAL_QUANTILE
        self._gain = gain
        self.deviation = FIRST_DEVIATION
        self._heard = 0.0

    @property
    def residuals(self) -> Residuals:
        """As readers take it."""
        return Residuals(factor=self.factor, deviation=self.deviation, lower=self.lower, upper=self.upper)

    @property
    def state(self) -> CalibrationState:
        """To persist."""
        return CalibrationState(
            factor=self.factor, deviation=self.deviation, lower=self.lower, upper=self.upper, heard=self._heard
        )

    def restore(self, state: CalibrationState) -> None:
        """Go on from what was learned."""
        self.factor, self.lower, self.upper = state.factor, state.lower, state.upper
        self.deviation, self._heard = state.deviation, state.heard

    def reset_factor(self) -> None:
        """The sum of the terms follows a change of its own accord now."""
        self.factor = 1.0

    def learn(self, actual_s: float, foreseen_s: float, summed_s: float, doubt_squares: float) -> float:
        """Learn a step; where it lay comes back: ln(actual ÷ foreseen) in units of s.

        Args:
            actual_s: its duration.
            foreseen_s: with the factor.
            summed_s: without it.
            doubt_squares: d², the variance of the foreseen time by what is not known of the coefficients, relative.
        """
        noise_squares = self.deviation**2
        spread_squares = noise_squares + doubt_squares
        deviations = math.log(actual_s / foreseen_s) / math.sqrt(spread_squares)
        ratio = min(max(actual_s / summed_s, FACTOR_RANGE[0]), FACTOR_RANGE[1])
        self.factor += self._gain * (ratio - self.factor)
        told = noise_squares / spread_squares
        self._heard += told
        noise_gain = told * max(NOISE_GAIN, 1.0 / (FIRST_STEPS + self._heard))
        self.deviation *= 1.0 + (noise_gain if abs(deviations) > NORMAL_MEDIAN else -noise_gain)
        self.deviation = max(self.deviation, LEAST_DEVIATION)
        self.lower = max(self.lower + QUANTILE_STEP * ((deviations < -self.lower) - TAIL), 0.0)
        self.upper = max(self.upper + QUANTILE_STEP * ((deviations > self.upper) - TAIL), 0.0)
        return deviations
