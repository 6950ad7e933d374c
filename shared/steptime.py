"""How long a step takes, from a batch's shape and a model's coefficients: the one place where this arithmetic exists.

The terms are physical: weights are read once a step, compute grows with the tokens and faster beyond a knee, attention
reads the KV cache, prefill chunks attend to what precedes them, every sequence costs a little. All are linear in the
coefficients, so the forecaster learns them one step at a time; lens, prism and the simulator evaluate them here.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Number = float | NDArray[np.float64]

FEATURES = (
    "base",
    "per_sequence",
    "per_token",
    "per_kv_token",
    "per_attention_work",
    "per_token_beyond_knee",
    "any_prefill",
)
KNEE_TOKENS = 128
"""Where compute starts to show over reading the weights."""


class StepShape(NamedTuple):
    """What a step's duration depends on; each field a number, or arrays of one shape for many candidate batches."""

    batch_size: Number
    num_tokens: Number
    kv_tokens: Number = 0.0
    attention_work: Number = 0.0
    prefill_seqs: Number = 0.0


def feature_vector(shape: StepShape) -> NDArray[np.float64]:
    """The terms that coefficients multiply, in the order of `FEATURES`: shape (…, 7)."""
    tokens = np.asarray(shape.num_tokens, np.float64)
    terms = np.broadcast_arrays(
        np.ones_like(tokens),
        shape.batch_size,
        tokens,
        shape.kv_tokens,
        shape.attention_work,
        np.maximum(tokens - KNEE_TOKENS, 0.0),
        np.minimum(shape.prefill_seqs, 1.0),
    )
    return np.stack(terms, axis=-1)


class StepModel(msgspec.Struct, frozen=True, kw_only=True):
    """Coefficients by feature, in seconds, with what is known of their error."""

    coefficients_s: tuple[float, ...]
    """One per name in `FEATURES`."""
    floor_s: float
    """No step is foreseen to be shorter: linear extrapolation may not reach absurd times."""
    upper_ratio: float = 1.0
    """The 0.95 quantile of actual over predicted step time."""

    def step_time_s(self, shape: StepShape) -> Number:
        """Expected duration of the step, or of each candidate."""
        predicted = np.maximum(feature_vector(shape) @ np.asarray(self.coefficients_s), self.floor_s)
        return predicted if predicted.ndim else float(predicted)


def step_times_s(models: Sequence[StepModel], shape: StepShape) -> NDArray[np.float64]:
    """Expected duration of a step on each of many engines: the last axis of `shape` runs along `models`."""
    coefficients_s = np.array([model.coefficients_s for model in models])
    floors_s = np.array([model.floor_s for model in models])
    times_s: NDArray[np.float64] = np.maximum((feature_vector(shape) * coefficients_s).sum(axis=-1), floors_s)
    return times_s


PRIOR = StepModel(coefficients_s=(0.02, 0.002, 0.002, 2e-6, 2e-7, 0.0, 0.0), floor_s=0.02, upper_ratio=2.0)
"""Where nothing has been learned: slower than what engines turn out to be, so that no engine looks fast unknown."""
