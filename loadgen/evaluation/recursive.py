"""The plain reference: recursive least squares with forgetting over seven physical terms. Pure."""

import numpy as np

from loadgen.evaluation.estimator import Predictor
from loadgen.evaluation.linear import Array, LinearModel, scaled
from shared.steptime import PRIOR, Number, StepShape

FORGETTING = 0.9995
KNEE_TOKENS = 128.0 / 256.0
"""In scaled tokens."""
PRIOR_VARIANCE = 1e5
MOST_TRACE = 7 * PRIOR_VARIANCE
"""Steps that say nothing of some term must not wind its variance up without end."""


def physical_terms(shape: StepShape) -> tuple[Number, ...]:
    """1, B, S, KV, attention work, S beyond 128 tokens, any prefill."""
    seqs, tokens, kv_tokens, attention_work, prefill_seqs = shape
    beyond = (tokens - KNEE_TOKENS) * (tokens > KNEE_TOKENS)
    return 1.0, seqs, tokens, kv_tokens, attention_work, beyond, 1.0 * (prefill_seqs > 0.0)


class RecursiveLeastSquares:
    """Rows and target are weighted by 1/T, so relative errors count."""

    def __init__(self) -> None:
        self._coefficients_s: Array = np.zeros(7)
        self._covariance: Array = PRIOR_VARIANCE * np.eye(7)
        self._shortest_s = np.inf

    def learn(self, shape: StepShape, actual_s: float, _at_s: float) -> None:
        """Learn one step."""
        row = np.array(physical_terms(scaled(shape)), dtype=float) / actual_s
        direction = self._covariance @ row
        gain = direction / (FORGETTING + row @ direction)
        self._coefficients_s = self._coefficients_s + gain * (1.0 - row @ self._coefficients_s)
        covariance = self._covariance - np.outer(gain, direction)
        covariance = (covariance + covariance.T) / 2.0
        self._covariance = covariance / max(FORGETTING, float(np.trace(covariance)) / MOST_TRACE)
        self._shortest_s = min(self._shortest_s, actual_s)

    def published(self) -> Predictor:
        """What has been learned so far."""
        if self._shortest_s == np.inf:
            return PRIOR
        return LinearModel(physical_terms, tuple(self._coefficients_s.tolist()), self._shortest_s)
