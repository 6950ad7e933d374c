"""What learning and predicting cost on this machine; nothing else should run on it meanwhile."""

import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from loadgen.evaluation.estimator import Estimator, Predictor
from loadgen.steplog import LoggedStep, stack_shapes
from shared.steptime import StepShape

MOST_STEPS = 1000
BLOCKS = 5
"""Each long enough to hold the fits of models that are fitted now and then."""
CANDIDATES = 4096
BULK_CALLS = 7


class Cost(NamedTuple):
    """In microseconds."""

    learn_us: float
    """A step: one prediction and one step learned, fits included; the median of `BLOCKS` blocks of steps."""
    predict_us: float
    """A candidate of `CANDIDATES` that the published model foresees in one call; the median of `BULK_CALLS` calls."""


def measure(make: Callable[[], Estimator], steps: Sequence[LoggedStep]) -> Cost:
    """The cost over a log's first steps, at least one."""
    estimator = make()
    timed = steps[:MOST_STEPS]
    bounds = [len(timed) * block // BLOCKS for block in range(BLOCKS + 1)]
    blocks = [timed[start:end] for start, end in pairwise(bounds) if end > start]
    learn_s = statistics.median([_learning_s(estimator, block) / len(block) for block in blocks])
    candidates = StepShape(*(np.resize(field, CANDIDATES) for field in stack_shapes(timed)))
    predictor = estimator.published()
    predict_s = statistics.median([_predicting_s(predictor, candidates) for _ in range(BULK_CALLS)]) / CANDIDATES
    return Cost(1e6 * learn_s, 1e6 * predict_s)


def _learning_s(estimator: Estimator, steps: Sequence[LoggedStep]) -> float:
    started_at_s = time.perf_counter()
    for step in steps:
        estimator.predict(step.shape)
        estimator.learn(step.shape, step.duration_s, step.at_s)
    return time.perf_counter() - started_at_s


def _predicting_s(predictor: Predictor, candidates: StepShape) -> float:
    started_at_s = time.perf_counter()
    predictor.step_time_s(candidates)
    return time.perf_counter() - started_at_s
