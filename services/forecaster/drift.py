"""Whether the engine's speed has changed: Page's cumulative sum test, to both sides, on standardised residuals.

Page, "Continuous Inspection Schemes", Biometrika 1954. Of River's detectors Page–Hinkley is the same test about a
running mean; residuals here have a known mean of 0, and the two sums persist with the model.
"""

ALLOWED_DEVIATIONS = 1.5
"""So much, step after step, is no change: residuals of neighbouring steps have much in common."""
MOST_DEVIATIONS = 4.0
"""That a single step counts for: a stall is no change."""
THRESHOLD_DEVIATIONS = 25.0
"""Nine steps in a row that are far off."""


class DriftTest:
    """Sums what exceeds the allowed deviations.

    Attributes:
        sums: towards longer and towards shorter durations.
    """

    def __init__(self) -> None:
        self.sums = (0.0, 0.0)

    def update(self, deviations: float) -> bool:
        """Take a step's residual in standard deviations; True where the speed has changed, and the sums start anew."""
        counted = min(max(deviations, -MOST_DEVIATIONS), MOST_DEVIATIONS)
        longer = max(0.0, self.sums[0] + counted - ALLOWED_DEVIATIONS)
        shorter = max(0.0, self.sums[1] - counted - ALLOWED_DEVIATIONS)
        changed = max(longer, shorter) > THRESHOLD_DEVIATIONS
        self.sums = (0.0, 0.0) if changed else (longer, shorter)
        return changed
