"""The published step-time models: throughput that saturates in sequences and in tokens (arXiv 2509.23384). Pure."""

from collections.abc import Callable

import msgspec
import numpy as np
from scipy.optimize import least_squares

from loadgen.evaluation.linear import FLOOR, Array, design, scaled
from shared.steptime import Number, StepShape

Parameters = tuple[float, ...]
Law = Callable[[Parameters, Number, Number], tuple[Number, tuple[Number, ...]]]
"""From parameters, B and S, both scaled, to T and its derivative by each parameter; the last two are kB and kS."""

SLOWEST_RATE, FASTEST_RATE = 1e-2, 1e3
"""Bounds of kB and kS: from hardly saturating in any batch to saturated by the first token."""
FIRST_RATES = ((10.0, 10.0), (100.0, 300.0))
"""Where the first fit starts, the better one to be kept: no start is good for both small and large batches."""
MOST_EVALUATIONS = 40
"""Of a fit: it starts from the one before, so it seldom needs ten."""
TOLERANCE = 1e-6


class SaturatingModel(msgspec.Struct, frozen=True):
    """One of the laws with its parameters."""

    law: Law
    parameters: Parameters
    shortest_s: float
    """Seen when they were fitted."""

    def step_time_s(self, shape: StepShape) -> Number:
        """Expected duration of a step, or of each candidate."""
        seqs, tokens, *_ = scaled(shape)
        expected_s, _ = self.law(self.parameters, seqs, tokens)
        return np.maximum(expected_s, FLOOR * self.shortest_s)


def eight_parameters(parameters: Parameters, seqs: Number, tokens: Number) -> tuple[Number, tuple[Number, ...]]:
    """T = τ0 + (w0 + w1·S)/Thr + τB·B + τS·S with Thr = Pmax(1−e^(−kB·B))(1−e^(−kS·S)).

    The parameters are τ0, w0, w1, τB, τS, kB, kS. Pmax only scales w0 and w1; it is 1 here, which leaves the same curves
    and makes each parameter's best value unique.
    """
    base, fixed, per_token_through, per_seq, per_token, *rates = parameters
    through, by_seqs_rate, by_tokens_rate = _inverse_throughput(rates, seqs, tokens)
    work = fixed + per_token_through * tokens
    expected = base + work * through + per_seq * seqs + per_token * tokens
    return expected, (1.0, through, tokens * through, seqs, tokens, work * by_seqs_rate, work * by_tokens_rate)


def five_parameters(parameters: Parameters, seqs: Number, tokens: Number) -> tuple[Number, tuple[Number, ...]]:
    """T = Tbase/[(1−e^(−kB·B))(1−e^(−kS·S))] + τB·B + τS·S; the parameters are Tbase, τB, τS, kB, kS."""
    base, per_seq, per_token, *rates = parameters
    through, by_seqs_rate, by_tokens_rate = _inverse_throughput(rates, seqs, tokens)
    expected = base * through + per_seq * seqs + per_token * tokens
    return expected, (through, seqs, tokens, base * by_seqs_rate, base * by_tokens_rate)


def _inverse_throughput(rates: list[float], seqs: Number, tokens: Number) -> tuple[Number, Number, Number]:
    """1/[(1−e^(−kB·B))(1−e^(−kS·S))] and its derivatives by kB and kS."""
    seqs_rate, tokens_rate = rates
    seqs_left, tokens_left = np.exp(-seqs_rate * seqs), np.exp(-tokens_rate * tokens)
    inverse: Number = 1.0 / ((1.0 - seqs_left) * (1.0 - tokens_left))
    by_seqs_rate: Number = -inverse * seqs * seqs_left / (1.0 - seqs_left)
    by_tokens_rate: Number = -inverse * tokens * tokens_left / (1.0 - tokens_left)
    return inverse, by_seqs_rate, by_tokens_rate


def bounded_least_squares(
    law: Law, shares: Parameters
) -> Callable[[StepShape, Array, SaturatingModel | None], SaturatingModel]:
    """Fits of relative errors with every parameter at least 0, from the parameters before; the first from `shares` of the
    mean step, one a parameter other than the rates."""
    lowest = np.array([0.0] * len(shares) + [SLOWEST_RATE] * 2)
    highest = np.array([np.inf] * len(shares) + [FASTEST_RATE] * 2)

    def fit(shapes: StepShape, actual_s: Array, before: SaturatingModel | None) -> SaturatingModel:
        mean_s = float(actual_s.mean())
        seqs, tokens, *_ = scaled(shapes)

        def errors(parameters: Array) -> Array:
            return np.asarray(law(tuple(parameters), seqs, tokens)[0]) / actual_s - 1.0

        def jacobian(parameters: Array) -> Array:
            return design(law(tuple(parameters), seqs, tokens)[1]) / actual_s[:, np.newaxis]

        def fit_from(start: Parameters) -> tuple[float, Array]:
            found = least_squares(
                errors,
                np.clip(start, lowest + 1e-9, highest * (1.0 - 1e-9)),
                jacobian,
                bounds=(lowest, highest),
                x_scale=np.array([mean_s] * len(shares) + [3.0] * 2),
                max_nfev=MOST_EVALUATIONS,
                ftol=TOLERANCE,
                xtol=TOLERANCE,
            )
            return float(found.cost), found.x

        anew = [(*(share * mean_s for share in shares), *rates) for rates in FIRST_RATES]
        starts = anew if before is None else [before.parameters]
        _, best = min((fit_from(start) for start in starts), key=lambda found: found[0])
        return SaturatingModel(law, tuple(best.tolist()), float(actual_s.min()))

    return fit
