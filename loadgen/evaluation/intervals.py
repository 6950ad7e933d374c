"""One interval for all models that bring none: rolling quantiles of actual over predicted. Pure."""

from river.stats import RollingQuantile

from loadgen.evaluation.estimator import Learner, Predictor
from shared.steptime import MOST_DOUBT, Interval, StepShape

WINDOW_STEPS = 500


class WithInterval:
    """A learner as an estimator: its expectation times the 0.05 and 0.95 quantiles of its latest ratios."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._lower = RollingQuantile(0.05, WINDOW_STEPS)
        self._upper = RollingQuantile(0.95, WINDOW_STEPS)
        self._foreseen: tuple[StepShape, float] | None = None

    def predict(self, shape: StepShape) -> Interval:
        """The next step's expected duration and 90 % interval."""
        expected_s = self._expected_s(shape)
        lower, upper = self._lower.get(), self._upper.get()
        if lower is None or upper is None:
            lower, upper = 1.0 / MOST_DOUBT, MOST_DOUBT
        return Interval(expected_s, lower * expected_s, upper * expected_s)

    def learn(self, shape: StepShape, actual_s: float, at_s: float) -> None:
        """Learn the step and how far it lay from what was expected of it."""
        ratio = actual_s / self._expected_s(shape)
        self._lower.update(ratio)
        self._upper.update(ratio)
        self._learner.learn(shape, actual_s, at_s)
        self._foreseen = None

    def published(self) -> Predictor:
        """What has been learned so far."""
        return self._learner.published()

    def _expected_s(self, shape: StepShape) -> float:
        """Worked out once a step: it is asked for before the step and again after it."""
        if self._foreseen is None or self._foreseen[0] != shape:
            self._foreseen = shape, float(self._learner.published().step_time_s(shape))
        return self._foreseen[1]
