"""Models that are fitted anew, now and then, to the latest steps. Pure."""

from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.evaluation.estimator import Predictor
from shared.steptime import PRIOR, Number, StepShape

Array = NDArray[np.float64]
Model = TypeVar("Model", bound=Predictor)
Fit = Callable[[StepShape, Array, Model | None], Model]
"""From a window's shapes and durations, and the model fitted before, to the next."""

FIRST_STEPS = 8
"""Of the first fit."""
GROWTH = 1.25
"""A young model is fitted as soon as it has so many times the steps of its last fit, however little time has passed."""


class Mean(msgspec.Struct, frozen=True):
    """As long as steps took on average: all that is said before the first fit."""

    mean_s: float

    def step_time_s(self, shape: StepShape) -> Number:
        """Expected duration of a step, or of each candidate."""
        return self.mean_s + 0.0 * shape.batch_size


class Refitted(Generic[Model]):
    """Learns by `fit` over the last `window_steps`, every `every_s` of the log's own time; after every step for 0."""

    def __init__(self, fit: Fit[Model], *, window_steps: int, every_s: float) -> None:
        self._fit = fit
        self._every_s = every_s
        self._window: Array = np.empty((window_steps, len(StepShape._fields) + 1))
        self._steps = 0
        self._model: Model | None = None
        self._fit_at_steps = float(FIRST_STEPS)
        self._fitted_at_s = 0.0

    def learn(self, shape: StepShape, actual_s: float, at_s: float) -> None:
        """Add the step to the window, the oldest leaving; fit when that is due."""
        self._window[self._steps % len(self._window)] = (*shape, actual_s)
        self._steps += 1
        if self._is_due(at_s):
            *fields, durations_s = self._window[: self._steps].T
            self._model = self._fit(StepShape(*fields), durations_s, self._model)
            self._fitted_at_s = at_s
            self._fit_at_steps = GROWTH * self._steps

    def _is_due(self, at_s: float) -> bool:
        if self._steps >= self._fit_at_steps and self._steps <= len(self._window):
            return True
        passed_s = at_s - self._fitted_at_s
        return self._model is not None and not 0.0 <= passed_s < self._every_s

    def published(self) -> Predictor:
        """What was last fitted; before the first fit the mean, and before any step what is presumed of every engine."""
        if self._model is not None:
            return self._model
        return Mean(float(self._window[: self._steps, -1].mean())) if self._steps else PRIOR
