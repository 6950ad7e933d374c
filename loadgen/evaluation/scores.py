"""How well a log's steps were foreseen. Pure."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.evaluation.prequential import Array, Foreseen

STEPS_NOT_COUNTED = 10
"""A log's first: they are learned, but what a model says of them is its prior."""
STEPS_NOT_COUNTED_AHEAD = 60
FIRST_STEPS = 200


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Errors and coverage as fractions, over the steps that count; None where there are none."""

    steps: int
    """Of the log, with those that do not count."""
    mape: float | None
    """Mean |predicted − actual| / actual for the next step."""
    mape_decode: float | None
    mape_mixed: float | None
    mape_h50: float | None
    """By the model as published 50 steps before."""
    r2: float | None
    """1 − residual ÷ total sum of squares, of seconds."""
    coverage90: float | None
    """Share of steps within their 90 % interval."""
    coverage90_decode: float | None
    coverage90_mixed: float | None
    width90_ms: float | None
    """Of the interval, mean."""
    mape_first200: float | None
    """Of the counted among a log's first 200."""


def score(foreseen: Foreseen) -> Scores:
    """The scores of a log."""
    counted = np.arange(len(foreseen.actual_s)) >= STEPS_NOT_COUNTED
    decode, mixed = counted & ~foreseen.mixed, counted & foreseen.mixed
    errors = foreseen.errors
    inside = (foreseen.lower_s <= foreseen.actual_s) & (foreseen.actual_s <= foreseen.upper_s)
    errors_ahead = np.abs(foreseen.ahead_s / foreseen.actual_s - 1.0)
    return Scores(
        steps=len(counted),
        mape=_mean(errors[counted]),
        mape_decode=_mean(errors[decode]),
        mape_mixed=_mean(errors[mixed]),
        mape_h50=_mean(errors_ahead[STEPS_NOT_COUNTED_AHEAD:]),
        r2=_r2(foreseen.actual_s[counted], foreseen.expected_s[counted]),
        coverage90=_mean(inside[counted]),
        coverage90_decode=_mean(inside[decode]),
        coverage90_mixed=_mean(inside[mixed]),
        width90_ms=_mean(1e3 * (foreseen.upper_s - foreseen.lower_s)[counted]),
        mape_first200=_mean(errors[STEPS_NOT_COUNTED:FIRST_STEPS]),
    )


def _mean(values: Array | NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if len(values) else None


def _r2(actual: Array, predicted: Array) -> float | None:
    if not len(actual) or np.ptp(actual) == 0.0:
        return None
    return 1.0 - float(np.square(actual - predicted).sum() / np.square(actual - actual.mean()).sum())
