"""What is asked of every step-time model under evaluation. Pure."""

from typing import Protocol

from shared.steptime import Interval, Number, StepShape


class Predictor(Protocol):
    """A model as it stands, for whoever reads it while learning goes on: it never changes."""

    def step_time_s(self, shape: StepShape) -> Number:
        """Expected duration of a step, or of each candidate where the shape's fields are arrays."""
        ...


class Learner(Protocol):
    """Learns steps in their order."""

    def learn(self, shape: StepShape, actual_s: float, at_s: float) -> None:
        """Learn one step that ended at `at_s` on the log's own clock."""
        ...

    def published(self) -> Predictor:
        """What has been learned so far."""
        ...


class Estimator(Learner, Protocol):
    """A learner that also says how far the next step may lie from what it expects."""

    def predict(self, shape: StepShape) -> Interval:
        """The next step's expected duration and 90 % interval."""
        ...
