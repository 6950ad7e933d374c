"""A log's steps put to an estimator in their order: each is predicted, then learned. Pure."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadgen.evaluation.estimator import Estimator, Predictor
from loadgen.steplog import LoggedStep

Array = NDArray[np.float64]

STEPS_AHEAD = 50
"""A router reads a model that was published so many steps before the step that it foresees."""


class Foreseen(NamedTuple):
    """A log's steps as predicted and as they came; an item a step."""

    mixed: NDArray[np.bool_]
    """Whether the step prefilled."""
    actual_s: Array
    expected_s: Array
    lower_s: Array
    upper_s: Array
    ahead_s: Array
    """By the model as published `STEPS_AHEAD` steps before; NaN while none was."""

    @property
    def errors(self) -> Array:
        """|expected − actual| / actual."""
        return np.abs(self.expected_s / self.actual_s - 1.0)


def foresee(estimator: Estimator, steps: Sequence[LoggedStep]) -> Foreseen:
    """What an estimator that knows nothing yet says of every step before it learns it."""
    published: deque[Predictor] = deque(maxlen=STEPS_AHEAD + 1)
    rows = []
    for step in steps:
        ahead_s = float(published[0].step_time_s(step.shape)) if len(published) == published.maxlen else np.nan
        rows.append((step.duration_s, *estimator.predict(step.shape), ahead_s))
        estimator.learn(step.shape, step.duration_s, step.at_s)
        published.append(estimator.published())
    mixed = np.array([step.shape.prefill_seqs > 0 for step in steps], dtype=bool)
    return Foreseen(mixed, *np.array(rows, dtype=float).T)
