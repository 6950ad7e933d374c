"""The step-time regressor: recursive least squares in River's form, one estimator an engine, a few microseconds a step."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from river.base import Regressor

PRIOR_VARIANCE = 100.0
"""Of a coefficient for a scaled feature, in units of the residuals' variance: says next to nothing."""
PRESUMED_RESIDUAL = 0.1
"""Relative error presumed before any step, with the weight of one step."""
STEPS_BETWEEN_CAPS = 32
"""In that many steps forgetting widens a direction by 1.6 %, so the cap need not be looked at more often."""


class RegressorState(msgspec.Struct, frozen=True, kw_only=True):
    """A regressor as plain numbers; it goes on from them exactly as if it had never stopped."""

    features: tuple[str, ...]
    coefficients: tuple[float, ...]
    root: tuple[tuple[float, ...], ...]
    residual_squares: float
    residual_weight: float
    steps_to_cap: int


class StepTimeRegressor(Regressor):
    """Linear regression on the relative error, by recursive least squares with exponential forgetting.

    A step weighs 1/T, so that 5 % of a short step counts as much as 5 % of a long one. The covariance is kept as a root
    S with P = S Sᵀ (Potter's form), which rounding cannot make indefinite. Forgetting widens what the data do not speak
    of; that stops where the start was, direction by direction, so directions in use forget on at their pace and a long
    one-sided history cannot wind the rest up.

    Parameters
    ----------
    forgetting
        Weight of the step before relative to the newest.
    shortest
        Targets below this, in the target's unit, weigh as if they were this long.
    scales
        Typical magnitude by feature, which conditions the covariance; 1 where not given.

    Examples
    --------
    >>> regressor = StepTimeRegressor()
    >>> for tokens in range(1, 50):
    ...     regressor.learn_one({"base": 1.0, "per_token": tokens}, 0.01 + 0.002 * tokens)
    >>> round(regressor.predict_one({"base": 1.0, "per_token": 100}), 4)
    0.21

    """

    def __init__(
        self, forgetting: float = 0.9995, shortest: float = 1e-4, scales: Mapping[str, float] | None = None
    ) -> None:
        self.forgetting = forgetting
        self.shortest = shortest
        self.scales = scales
        self._index: dict[str, int] = {}
        self._inverse_scales: NDArray[np.float64] = np.empty(0)
        self._coefficients: NDArray[np.float64] = np.empty(0)
        self._root: NDArray[np.float64] = np.empty((0, 0))
        self._residual_squares = PRESUMED_RESIDUAL**2
        self._residual_weight = 1.0
        self._steps_to_cap = STEPS_BETWEEN_CAPS

    def predict_one(self, x: Mapping[Any, float]) -> float:
        """The expected target; features never learned count for nothing."""
        return float(self._coefficients @ self._scaled(x))

    def learn_one(self, x: Mapping[Any, float], y: float) -> None:
        """Learn one observation; a new feature joins with a coefficient of 0."""
        if not x.keys() <= self._index.keys():
            self._add_features(x)
        weight = 1.0 / max(abs(y), self.shortest)
        row = self._scaled(x) * weight
        projected = row @ self._root
        spread = self.forgetting + float(projected @ projected)
        gain = (self._root @ projected) / spread
        error = y * weight - float(self._coefficients @ row)
        self._coefficients += gain * error
        shrink = 1.0 + (self.forgetting / spread) ** 0.5
        self._root -= np.multiply.outer(gain, projected / shrink)
        self._root *= self.forgetting**-0.5
        self._residual_squares = self.forgetting * (self._residual_squares + error * error / spread)
        self._residual_weight = self.forgetting * self._residual_weight + 1.0
        self._steps_to_cap -= 1
        if self._steps_to_cap == 0:
            self._cap_root()

    @property
    def coefficients(self) -> Mapping[str, float]:
        """By feature, in the target's unit per unit of the feature."""
        return dict(zip(self._index, (self._coefficients * self._inverse_scales).tolist(), strict=True))

    @property
    def uncertainty(self) -> Mapping[str, float]:
        """Standard deviation of each coefficient, in its unit."""
        variances = np.square(self._root).sum(axis=1) * (self._residual_squares / self._residual_weight)
        return dict(zip(self._index, (np.sqrt(variances) * self._inverse_scales).tolist(), strict=True))

    @property
    def state(self) -> RegressorState:
        """All that was learned; the parameters of the constructor are not part of it."""
        return RegressorState(
            features=tuple(self._index),
            coefficients=tuple(self._coefficients.tolist()),
            root=tuple(map(tuple, self._root.tolist())),
            residual_squares=self._residual_squares,
            residual_weight=self._residual_weight,
            steps_to_cap=self._steps_to_cap,
        )

    def restore(self, state: RegressorState) -> None:
        """Go on from what another one of the same parameters had learned."""
        self._index = {}
        self._add_features(dict.fromkeys(state.features, 0.0))
        self._coefficients = np.array(state.coefficients)
        self._root = np.array(state.root).reshape(len(state.features), len(state.features))
        self._residual_squares = state.residual_squares
        self._residual_weight = state.residual_weight
        self._steps_to_cap = state.steps_to_cap

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {}
        yield {"forgetting": 0.99, "scales": {"ordinal_date": 1e6}}

    def _scaled(self, x: Mapping[Any, float]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = np.array([x.get(name, 0.0) for name in self._index], np.float64)
        return values * self._inverse_scales

    def _add_features(self, x: Mapping[Any, float]) -> None:
        scales = self.scales or {}
        for name in x:
            self._index.setdefault(name, len(self._index))
        known, size = len(self._coefficients), len(self._index)
        self._inverse_scales = np.array([1.0 / scales.get(name, 1.0) for name in self._index])
        self._coefficients = np.concatenate((self._coefficients, np.zeros(size - known)))
        root = np.eye(size) * PRIOR_VARIANCE**0.5
        root[:known, :known] = self._root
        self._root = root

    def _cap_root(self) -> None:
        """No direction may be less certain than it was at the start: the trace of P stays below size × prior."""
        directions, lengths, _ = np.linalg.svd(self._root)
        self._root = directions * np.minimum(lengths, PRIOR_VARIANCE**0.5)
        self._steps_to_cap = STEPS_BETWEEN_CAPS
