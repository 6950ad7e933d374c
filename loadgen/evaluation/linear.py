"""Models that are linear in terms of a batch's shape, whatever the terms and however fitted. Pure."""

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.steptime import Number, StepShape

Array = NDArray[np.float64]
Terms = Callable[[StepShape], tuple[Number, ...]]

SCALE = StepShape(batch_size=32.0, num_tokens=256.0, kv_tokens=1e5, attention_work=1e6, prefill_seqs=1.0)
"""Magnitudes in a busy engine's steps: they bring terms that differ by 10⁶ to the order of 1."""


FLOOR = 0.25
"""No model says that a step is shorter than so much of the shortest it has seen."""


class LinearModel(msgspec.Struct, frozen=True):
    """Terms times coefficients."""

    terms: Terms
    coefficients_s: tuple[float, ...]
    shortest_s: float
    """Seen when they were fitted."""

    def step_time_s(self, shape: StepShape) -> Number:
        """Expected duration of a step, or of each candidate."""
        terms = self.terms(scaled(shape))
        total_s: Number = sum(c * term for c, term in zip(self.coefficients_s, terms, strict=True))
        return np.maximum(total_s, FLOOR * self.shortest_s)


def scaled(shape: StepShape) -> StepShape:
    """The shape in units of `SCALE`."""
    return StepShape(*(value / unit for value, unit in zip(shape, SCALE, strict=True)))


def design(terms: tuple[Number, ...]) -> Array:
    """The terms as columns, a row a step."""
    return np.stack(np.broadcast_arrays(*terms), axis=-1)


def ridge(terms: Terms, penalty: float) -> Callable[[StepShape, Array, object], LinearModel]:
    """Least squares of relative errors over a window: rows and target weighted 1/T, and `penalty` on coefficients relative
    to the window's shortest step."""

    def fit(shapes: StepShape, actual_s: Array, _before: object) -> LinearModel:
        shortest_s = float(actual_s.min())
        rows = design(terms(scaled(shapes))) * (shortest_s / actual_s)[:, np.newaxis]
        gram = rows.T @ rows + penalty * np.eye(rows.shape[1])
        relative = np.linalg.solve(gram, rows.sum(axis=0))
        return LinearModel(terms, tuple((shortest_s * relative).tolist()), shortest_s)

    return fit


def in_sequences_and_tokens(shape: StepShape) -> tuple[Number, ...]:
    """1, B, S."""
    return 1.0, shape.batch_size, shape.num_tokens


def of_second_order(shape: StepShape) -> tuple[Number, ...]:
    """B, S, KV, their squares and products."""
    seqs, tokens, kv_tokens = shape.batch_size, shape.num_tokens, shape.kv_tokens
    return (
        *(1.0, seqs, tokens, kv_tokens),
        *(seqs * seqs, tokens * tokens, kv_tokens * kv_tokens),
        *(seqs * tokens, seqs * kv_tokens, tokens * kv_tokens),
    )
