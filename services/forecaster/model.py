"""The step-time regressor: a River estimator that foresees a step and its doubt, then learns it, in microseconds.

Least squares over physical terms follows what is lasting, a factor a regime what is passing, quantiles a regime the
noise; when the engine's speed changes, a drift test loosens what was learned.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from river.base import Regressor

from services.forecaster.calibration import Regime
from services.forecaster.least_squares import LeastSquares, Vector
from services.forecaster.prior import PROPORTIONS, mixed_columns, prior_root
from services.forecaster.regressor_state import RegressorState
from shared.steptime import (
    FEATURES,
    PRESUMED_NOISE,
    PRIOR,
    Interval,
    StepModel,
    StepShape,
    doubt_squares,
    expected_s,
    features,
    interval,
    larger,
    term_sums_s,
)

FIRST_STEP_NOISE = 1e4
"""Variance of the first step in units of the presumed one, falling with the square of the steps: the first steps of an
engine's life allocate, load and capture, and take up to three times as long."""
STEPS_UNTIL_CALIBRATION = 10
"""Before, factors and noise would learn the prior's errors."""
STEPS_BETWEEN_BINDINGS = 8
"""How often the coefficients in use follow the free estimate, as long as that moves little."""
NEWS = 0.005**2
"""Relative variance by doubt, above which a step teaches so much that they follow at once."""
STEPS_BETWEEN_DOUBTS = 32
"""How often the published doubt is worked out, after as many steps."""
MOST_SPEEDUP = 2.0
"""A step that was shorter yet than what was foreseen by this ratio counts as if it had been so long, until drift is seen:
weights 1/t would make it outweigh all others."""
MOST_GROWTH = 8.0
"""A step among the first that is longer by this ratio than the unit allows: the prior begins anew, with its unit."""
UNIT_GAIN = 0.02
"""Of the typical unit; the first step alone may have said little of it."""
DRIFT_WIDENING = 4.0
"""Of the covariance, when the engine's speed has changed."""
KIN_WIDENING = 25.0
"""Of the covariance, when an engine starts from what was learned of another of its kind."""
SCALE_DEVIATION = 0.5
"""Relative deviation then presumed of all coefficients together: engines mostly slow, or differ, as a whole."""
FLOOR_OF_UNIT = 0.25
"""Of the shortest time that reading the weights was seen to take, by the prior's proportions: the floor only keeps
extrapolation from absurd times; too low does no harm, too high makes an engine look slow that has only run long steps."""
SHORTEST_FADES = 1e-3
"""Each time it is looked at: it doubles in some 6,000 steps."""
LEAST_FLOOR_S = 1e-6
OF_PREFILL = np.array(
    [name not in {"base", "per_sequence", "per_padded_sequence", "per_kv_token"} for name in FEATURES]
)
"""Features that a decode-only step hardly has."""

Rows = tuple[tuple[float, ...], ...]


class _Foreseen(NamedTuple):
    """What was worked out about the next step."""

    shape: StepShape
    regime: Regime
    row: Vector
    projected: Vector
    summed_s: float
    """Of the terms, without a factor."""
    expected_s: float
    later_s: float
    """By the lasting factors."""
    doubt: float
    """d², see `shared.steptime.doubt_squares`."""


class StepTimeRegressor(Regressor):
    """Foresees how long an engine's next step takes, in seconds; `x` holds the fields of `StepShape` by name.

    Examples
    --------
    >>> regressor = StepTimeRegressor()
    >>> for tokens in range(1, 300):
    ...     shape = {"batch_size": 1, "num_tokens": tokens, "prefill_seqs": 1, "attention_work": tokens**2 / 2}
    ...     regressor.learn_one(shape, 0.01 + 0.0002 * tokens)
    >>> round(regressor.predict_one({**shape, "num_tokens": 100, "attention_work": 5e3}), 3)
    0.03

    """

    def __init__(self) -> None:
        self._steps = 0
        self._steps_since_drift: int | None = None
        self._unit_s = self._typical_unit_s = 0.0
        self._filter: LeastSquares | None = None
        self._coefficients_s: list[float] = []
        self._shortest_unit_s = 0.0
        self._decode = Regime()
        self._mixed = Regime()
        self._foreseen: _Foreseen | None = None
        self._doubted: tuple[Rows, tuple[float, ...]] | None = None
        self._steps_doubted = 0

    def predict_one(self, x: Mapping[Any, float]) -> float:
        """The expected duration of the next step; the prior's before any was learned."""
        return self.expect_s(_shape(x))

    def learn_one(self, x: Mapping[Any, float], y: float) -> None:
        """Learn one step; a duration that is not positive teaches nothing."""
        self.learn(_shape(x), y)

    @property
    def steps(self) -> int:
        """Steps learned."""
        return self._steps

    @property
    def steps_since_drift(self) -> int | None:
        """Steps since the engine's speed was last seen to change; None where it never was."""
        return self._steps_since_drift

    def expect_s(self, shape: StepShape) -> float:
        """The next step's expected duration; `predict` without its interval."""
        if self._filter is None:
            return float(PRIOR.step_time_s(shape))
        return self._foresee(shape).expected_s

    def predict(self, shape: StepShape) -> Interval:
        """The next step's expected duration and 90 % interval; the shape's fields are plain numbers."""
        if self._filter is None:
            return PRIOR.interval(shape)
        seen = self._foresee(shape)
        spread = seen.regime.next_spread
        return interval(seen.expected_s, seen.doubt, spread.deviation, spread.lower, spread.upper)

    def learn(self, shape: StepShape, actual_s: float) -> None:
        """Learn the step that was run; a duration that is not positive teaches nothing."""
        if actual_s <= 0.0:
            return
        if self._filter is None or (self._steps < STEPS_UNTIL_CALIBRATION and self._is_beyond(shape, actual_s)):
            self._begin(shape, actual_s)
        seen = self._foresee(shape)
        if self._steps >= STEPS_UNTIL_CALIBRATION and seen.regime.learn(
            actual_s, seen.summed_s, seen.expected_s, seen.later_s, seen.doubt
        ):
            self._loosen(DRIFT_WIDENING, mixed=seen.regime is self._mixed)
            seen = self._foresee(shape)
        self._update(seen, actual_s)

    def step_model(self) -> StepModel:
        """What readers foresee later steps by; the prior before any step."""
        if self._filter is None:
            return PRIOR
        return StepModel(
            coefficients_s=tuple(self._coefficients_s),
            floor_s=self._floor_s,
            decode=self._decode.residuals,
            mixed=self._mixed.residuals,
            doubt_ms=self._doubt()[0],
        )

    @property
    def uncertainty_ms(self) -> tuple[float, ...]:
        """Standard deviation of each coefficient, by feature; empty before any step."""
        return self._doubt()[1] if self._filter is not None else ()

    @property
    def state(self) -> RegressorState | None:
        """All that was learned; None before any step."""
        if self._filter is None:
            return None
        return RegressorState(
            features=FEATURES,
            steps=self._steps,
            steps_since_drift=self._steps_since_drift,
            unit_s=self._unit_s,
            typical_unit_s=self._typical_unit_s,
            free_s=tuple(self._filter.free.tolist()),
            root_s=tuple(map(tuple, self._filter.root.tolist())),
            bound=self._filter.bound,
            steps_to_cap=self._filter.steps_to_cap,
            coefficients_s=tuple(self._coefficients_s),
            shortest_unit_s=self._shortest_unit_s,
            decode=self._decode.state,
            mixed=self._mixed.state,
        )

    def restore(self, state: RegressorState) -> None:
        """Go on from what another one had learned.

        Raises:
            ValueError: it learned other features than this version has.
        """
        if state.features != FEATURES:
            raise ValueError(f"a model of {len(state.features)} other features: {', '.join(state.features)}")
        self._steps, self._steps_since_drift = state.steps, state.steps_since_drift
        self._unit_s, self._typical_unit_s = state.unit_s, state.typical_unit_s
        self._shortest_unit_s = state.shortest_unit_s
        self._filter = LeastSquares(np.array(state.free_s), prior_root(self._unit_s, PRESUMED_NOISE))
        self._filter.root = np.asfortranarray(state.root_s)
        self._filter.bound = state.bound
        self._filter.steps_to_cap = state.steps_to_cap
        self._filter.prior_scale = self._typical_unit_s / self._unit_s
        self._coefficients_s = list(state.coefficients_s)
        self._decode.restore(state.decode)
        self._mixed.restore(state.mixed)
        self._foreseen = self._doubted = None

    @classmethod
    def like(cls, state: RegressorState) -> "StepTimeRegressor":
        """The start of an engine of the same kind as one that was learned: its law, trusted less."""
        regressor = cls()
        regressor.restore(state)
        regressor._loosen(KIN_WIDENING)
        regressor._steps, regressor._steps_since_drift = 0, None
        return regressor

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}

    @property
    def _floor_s(self) -> float:
        return max(self._shortest_unit_s * FLOOR_OF_UNIT, LEAST_FLOOR_S)

    def _is_beyond(self, shape: StepShape, actual_s: float) -> bool:
        """Whether the step before it, of hardly any time, has said nothing of the unit."""
        return actual_s > MOST_GROWTH * self._unit_s * float(np.array(features(shape)) @ PROPORTIONS)

    def _begin(self, shape: StepShape, actual_s: float) -> None:
        self._unit_s = self._typical_unit_s = self._shortest_unit_s = actual_s / float(
            np.array(features(shape)) @ PROPORTIONS
        )
        self._filter = LeastSquares(self._unit_s * PROPORTIONS, prior_root(self._unit_s, PRESUMED_NOISE))
        self._coefficients_s = self._filter.free.tolist()
        self._foreseen = None

    def _foresee(self, shape: StepShape) -> _Foreseen:
        """Once a step: what predicting works out, learning needs again."""
        assert self._filter is not None
        if self._foreseen is not None and self._foreseen.shape is shape:
            return self._foreseen
        terms = features(shape)
        row = np.array(terms)
        projected = self._filter.project(row)
        always_s, mixed_s = term_sums_s(self._coefficients_s, terms)
        factors = self._decode.next_factor, self._mixed.next_factor
        lasting = self._decode.lasting.value, self._mixed.lasting.value
        summed_s = larger(float(always_s + mixed_s), self._floor_s)
        self._foreseen = _Foreseen(
            shape=shape,
            regime=self._mixed if shape.prefill_seqs > 0 else self._decode,
            row=row,
            projected=projected,
            summed_s=summed_s,
            expected_s=float(expected_s(always_s, mixed_s, terms, factors, self._floor_s)),
            later_s=float(expected_s(always_s, mixed_s, terms, lasting, self._floor_s)),
            doubt=float(doubt_squares(float(projected.dot(projected)) / (summed_s * summed_s))),
        )
        return self._foreseen

    def _update(self, seen: _Foreseen, actual_s: float) -> None:
        assert self._filter is not None
        self._foreseen = None
        size_s = max(actual_s, seen.expected_s / MOST_SPEEDUP)
        noise = 1.0 + FIRST_STEP_NOISE / (1.0 + self._steps) ** 2
        self._filter.learn(seen.row, seen.projected, actual_s, size=size_s, noise=noise)
        self._steps += 1
        if self._steps_since_drift is not None:
            self._steps_since_drift += 1
        if seen.doubt > NEWS or self._steps % STEPS_BETWEEN_BINDINGS == 0:
            self._coefficients_s = self._filter.constrained().tolist()
            unit_s = size_s / float(seen.row.dot(PROPORTIONS))
            self._typical_unit_s += UNIT_GAIN * (unit_s - self._typical_unit_s)
            self._filter.prior_scale = self._typical_unit_s / self._unit_s
            self._shortest_unit_s = min(unit_s, self._shortest_unit_s * (1.0 + SHORTEST_FADES))

    def _loosen(self, widening: float, *, mixed: bool = False) -> None:
        """Speed has changed, perhaps of `mixed` steps alone: learn fast again, first of all by how much."""
        assert self._filter is not None
        along = SCALE_DEVIATION / PRESUMED_NOISE * np.array(self._coefficients_s)
        if mixed:
            columns = mixed_columns(self._typical_unit_s, PRESUMED_NOISE)
            along = np.column_stack((along, along * OF_PREFILL, columns))
        self._filter.loosen(widening, along)
        self._decode.reset_factors()
        self._mixed.reset_factors()
        self._steps_since_drift = 0
        self._foreseen = None
        self._doubted = None

    def _doubt(self) -> tuple[Rows, tuple[float, ...]]:
        """Rows and deviations; they change little from step to step, and are the longest thing that a forecast holds."""
        assert self._filter is not None
        if self._doubted is None or self._steps - self._steps_doubted >= min(self._steps // 4, STEPS_BETWEEN_DOUBTS):
            triangle_ms = self._filter.triangle() * (PRESUMED_NOISE * 1e3)
            rows = tuple(_rounded(row[: index + 1]) for index, row in enumerate(triangle_ms.tolist()))
            self._doubted = rows, _rounded(np.sqrt(np.square(triangle_ms).sum(axis=1)).tolist())
            self._steps_doubted = self._steps
        return self._doubted


def _shape(x: Mapping[Any, float]) -> StepShape:
    """What is not said is that of one decode without context."""
    return StepShape(
        batch_size=x.get("batch_size", 1.0),
        num_tokens=x.get("num_tokens", 1.0),
        kv_tokens=x.get("kv_tokens", 0.0),
        attention_work=x.get("attention_work", 0.0),
        prefill_seqs=x.get("prefill_seqs", 0.0),
    )


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in values)
