"""Gradient-boosted trees over a batch's shape, the strongest model of step time that is not physical. Pure."""

from typing import Any

import msgspec
import numpy as np
import xgboost

from loadgen.evaluation.linear import Array, design
from shared.steptime import Number, StepShape

TREES = 60
PARAMETERS: dict[str, Any] = {
    "eta": 0.15,
    "max_depth": 4,
    "min_child_weight": 2,
    "monotone_constraints": (1, 1, 1, 1, 1),
    "reg_lambda": 0.01,
    "tree_method": "hist",
    "nthread": 1,
    "seed": 0,
}


class BoostedModel(msgspec.Struct, frozen=True):
    """Trees for ln T, so that relative errors count."""

    booster: xgboost.Booster

    def step_time_s(self, shape: StepShape) -> Number:
        """Expected duration of a step, or of each candidate."""
        rows = design(shape)
        expected_s: Array = np.exp(self.booster.inplace_predict(np.atleast_2d(rows)).astype(float))
        return expected_s if rows.ndim > 1 else float(expected_s[0])


def boost(shapes: StepShape, actual_s: Array, _before: BoostedModel | None) -> BoostedModel:
    """Trees anew: they cannot forget, so they cannot be carried on."""
    log_s = np.log(actual_s)
    rows = xgboost.QuantileDMatrix(design(shapes), label=log_s, nthread=1)
    return BoostedModel(xgboost.train({**PARAMETERS, "base_score": float(log_s.mean())}, rows, TREES))
