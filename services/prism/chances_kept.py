"""How chances that were given came true, and what to give instead: promises are kept more often, or less, than was foreseen. Pure.

Log odds of a promise being kept are presumed to be straight in the log odds foreseen (Platt 1999); intercept and slope are
learned from each promise that is settled, by the extended Kalman filter for a logistic observation, which forgets.
"""

import math

MEMORY_REQUESTS = 300
"""What a promise said counts 1/e after so many more."""
INTERCEPT_VARIANCE, SLOPE_VARIANCE = 1.0, 0.25
"""About 0 and 1, before any promise was settled: chances are taken to be about right."""
MOST_VARIANCE_RATIO = 4.0
"""Where all is forgotten again no less is known than by so many times these variances."""
SUREST = 0.999
"""No chance says more, nor 1 − it less."""
LEAST_VARIANCE = 1e-3
"""Of a promise's fate: one of which all was sure teaches no more than one of which it was nearly so."""


class ChancesKept:
    """Of one replica, by the promises that it has seen settled."""

    def __init__(self) -> None:
        self._intercept, self._slope = 0.0, 1.0
        self._intercept_variance, self._slope_variance = INTERCEPT_VARIANCE, SLOPE_VARIANCE
        self._covariance = 0.0

    def note(self, foreseen: float, kept: bool) -> None:
        """A promise is settled that had this chance, as foreseen and not as corrected."""
        odds = _log_odds(foreseen)
        self._forget()
        chance = self.corrected(foreseen)
        fate_variance = max(chance * (1.0 - chance), LEAST_VARIANCE)
        by_intercept = self._intercept_variance + odds * self._covariance
        by_slope = self._covariance + odds * self._slope_variance
        spread = by_intercept + odds * by_slope + 1.0 / fate_variance
        off = (kept - chance) / fate_variance
        self._intercept += by_intercept / spread * off
        self._slope = max(self._slope + by_slope / spread * off, 0.0)  # more hope is never less
        self._intercept_variance -= by_intercept * by_intercept / spread
        self._slope_variance -= by_slope * by_slope / spread
        self._covariance -= by_intercept * by_slope / spread

    def corrected(self, foreseen: float) -> float:
        """What to say in place of a chance."""
        return 1.0 / (1.0 + math.exp(-(self._intercept + self._slope * _log_odds(foreseen))))

    def _forget(self) -> None:
        """What is known, which is the inverse of the variances, fades, and makes room for the first presumption's, spread out.

        In every direction by itself: where all promises are alike only one is ever seen.
        """
        kept = 1.0 / (1.0 + 1.0 / MEMORY_REQUESTS)
        fresh = (1.0 - kept) / MOST_VARIANCE_RATIO
        known = kept / (self._intercept_variance * self._slope_variance - self._covariance**2)
        of_intercept = known * self._slope_variance + fresh / INTERCEPT_VARIANCE
        of_slope = known * self._intercept_variance + fresh / SLOPE_VARIANCE
        of_both = -known * self._covariance
        spread = of_intercept * of_slope - of_both**2
        self._intercept_variance, self._slope_variance = of_slope / spread, of_intercept / spread
        self._covariance = -of_both / spread


def _log_odds(chance: float) -> float:
    chance = min(max(chance, 1.0 - SUREST), SUREST)
    return math.log(chance / (1.0 - chance))
