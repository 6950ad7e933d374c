"""An engine that slows down half way through its log, and how long a model takes to follow. Pure."""

from collections.abc import Sequence

import numpy as np

from loadgen.evaluation.prequential import Array
from loadgen.evaluation.scores import STEPS_NOT_COUNTED
from loadgen.steplog import LoggedStep

STEPS_BEFORE = 500
"""Over which the error before the change is averaged."""
RUNNING_STEPS = 50
"""Over which the running error is: none recovers sooner, for only steps after the change count in it."""
RECOVERED = 1.5
"""Of the error before the change: the running error is back."""


def slowed(steps: Sequence[LoggedStep], factor: float) -> tuple[LoggedStep, ...]:
    """The log with every step from the middle on `factor` times as long; later ones end later by what was added."""
    middle, added_s, slower = len(steps) // 2, 0.0, []
    for step in steps[middle:]:
        added_s += (factor - 1.0) * step.duration_s
        slower.append(LoggedStep(step.shape, factor * step.duration_s, step.at_s + added_s))
    return (*steps[:middle], *slower)


def recovery_steps(errors: Array) -> int | None:
    """Steps from the change in the middle until the mean error of the last 50 is within 1.5 times that of the 500 before.

    None where it never is, or where no step before the change counts.
    """
    middle = len(errors) // 2
    before, after = errors[max(STEPS_NOT_COUNTED, middle - STEPS_BEFORE) : middle], errors[middle:]
    if not len(before) or len(after) < RUNNING_STEPS:
        return None
    running = np.convolve(after, np.full(RUNNING_STEPS, 1.0 / RUNNING_STEPS), mode="valid")
    (recovered,) = np.nonzero(running <= RECOVERED * before.mean())
    return RUNNING_STEPS + int(recovered[0]) if len(recovered) else None
