"""The forecaster's own regressor, as an estimator under evaluation."""

from services.forecaster.model import StepTimeRegressor
from shared.steptime import Interval, StepModel, StepShape


class Synergy:
    """What the forecaster learns from an engine's steps, and what it publishes of it."""

    def __init__(self) -> None:
        self._regressor = StepTimeRegressor()

    def predict(self, shape: StepShape) -> Interval:
        """The next step's expected duration and 90 % interval."""
        return self._regressor.predict(shape)

    def learn(self, shape: StepShape, actual_s: float, at_s: float) -> None:
        """Learn one step."""
        self._regressor.learn(shape, actual_s)

    def published(self) -> StepModel:
        """What lens and prism read."""
        return self._regressor.step_model()
