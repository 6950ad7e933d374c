"""Recursive least squares over step durations, with a prior, forgetting, and coefficients that are never negative.

    minimise  Σₖ λ^(n−k) (1 − xₖᵀθ/tₖ)² / rₖ  +  (θ−μ)ᵀ Λ (θ−μ),   then   θ ≥ 0

Each step weighs 1/t, so that 5 % of a short step counts as much as 5 % of a long one. The covariance P is kept as a root
A, P = A Aᵀ (Potter's form; Bierman, *Factorization Methods for Discrete Sequential Estimation*, 1977), which rounding
cannot make indefinite.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dger

Vector = NDArray[np.float64]

FORGETTING = 0.9998
"""Weight of the step before relative to the newest: half in 3,500 steps. What changes faster is followed by factors."""
STEPS_BETWEEN_CAPS = 256
"""In that many steps forgetting widens a direction by 2.6 %, so the cap need not be looked at more often."""
MOST_ROUNDS = 8
SAME = 1e-8
"""Two coefficients whose errors are correlated but for so much, squared, are one."""


class LeastSquares:
    """The filter, without knowledge of what its rows mean.

    Attributes:
        free: the unconstrained estimate θ, which goes on learning; shape (d,).
        root: A, shape (d, d), column by column for BLAS, in units of the presumed relative noise.
        bound: coefficients that the constraint held at 0 last.
        steps_to_cap: until the next look at the covariance.
        prior_scale: how many times the given prior the cap is by now.
    """

    def __init__(self, mean: Vector, root: Vector) -> None:
        """`root` (d, d): A of the prior, beyond which forgetting widens no direction."""
        self.free = mean.copy()
        self.root = np.asfortranarray(root.copy())
        self.steps_to_cap = STEPS_BETWEEN_CAPS
        self.prior_scale = 1.0
        self._prior_root = root
        self._inverse_prior_root = np.linalg.inv(root)
        self.bound: tuple[int, ...] = ()

    def project(self, row: Vector) -> Vector:
        """Aᵀx, shape (d,); its square xᵀPx is the variance of the row's sum, in units of the presumed noise."""
        projected: Vector = row.dot(self.root)
        return projected

    def learn(self, row: Vector, projected: Vector, duration: float, *, size: float, noise: float = 1.0) -> None:
        """Learn a step.

        Args:
            row: the terms x, shape (d,).
            projected: of this row, as `project` gives it now.
            duration: t.
            size: positive, t as a rule; the step weighs 1/size.
            noise: variance of this step's relative error in units of the presumed one.
        """
        weight = 1.0 / size
        projected = projected * weight
        presumed = FORGETTING * noise
        spread = presumed + float(projected.dot(projected))
        gain = self.root.dot(projected)
        error = weight * (duration - float(row.dot(self.free)))
        self.free += gain * (error / spread)
        shrink = spread + (presumed * spread) ** 0.5
        self.root = dger(-1.0 / shrink, gain, projected, a=self.root, overwrite_a=True)
        self.root *= FORGETTING**-0.5
        self.steps_to_cap -= 1
        if self.steps_to_cap == 0:
            self._cap()

    def constrained(self) -> Vector:
        """θ ≥ 0 nearest to the free estimate in the metric P⁻¹, hence the best one under the constraint.

        Negative coefficients are bound at 0, which moves the others along P; one that would rather be positive is
        let go. Starts from what was bound last, so mostly one round is enough.
        """
        bound = self.bound
        for _ in range(MOST_ROUNDS):
            estimate, multipliers = self._with_zeros(bound)
            loose = {index for index, multiplier in zip(bound, multipliers, strict=True) if multiplier > 0.0}
            negative = np.flatnonzero(estimate < 0.0).tolist()
            changed = (*(i for i in bound if i not in loose), *(i for i in negative if i not in bound))
            if changed == bound:
                break
            bound = changed
        self.bound = bound
        return np.maximum(estimate, 0.0)

    def loosen(self, widening: float, along: Vector) -> None:
        """Trust what was learned less: P → widening·P + along·alongᵀ, `along` of shape (d,) or (d, k); at most the prior."""
        wide = np.column_stack((self.root * widening**0.5, along))
        self.root = _triangle(wide)
        self._cap()

    def triangle(self) -> Vector:
        """The lower triangular root of the same covariance."""
        return _triangle(self.root)

    def _with_zeros(self, bound: tuple[int, ...]) -> tuple[Vector, list[float]]:
        if not bound:
            return self.free.copy(), []
        indices = list(bound)
        rows = self.root[indices]
        multipliers = _multipliers(rows, self.free[indices])
        estimate = self.free - self.root @ (multipliers @ rows)
        estimate[indices] = 0.0
        return estimate, multipliers.tolist()

    def _cap(self) -> None:
        """No direction may become less certain than the prior was: one-sided traffic must not wind the rest up."""
        directions, lengths, _ = np.linalg.svd(self._inverse_prior_root @ self.root)
        self.root = np.asfortranarray(self._prior_root @ (directions * np.minimum(lengths, self.prior_scale)))
        self.steps_to_cap = STEPS_BETWEEN_CAPS


def _multipliers(rows: Vector, values: Vector) -> Vector:
    """The m (n,) with which rows (n, d) · rowsᵀ · m = values (n,).

    Rows come in very different units, so each is scaled to length 1. Where two are nearly the same, so that their difference is
    no more than rounding, there is no telling them apart: they get the least m that comes nearest.
    """
    lengths = np.sqrt(np.square(rows).sum(axis=1))
    lengths[lengths == 0.0] = 1.0
    scaled = rows / lengths[:, np.newaxis]
    multipliers: Vector = np.linalg.lstsq(scaled @ scaled.T, values / lengths, rcond=SAME)[0] / lengths
    return multipliers


def _triangle(root: Vector) -> Vector:
    """The lower triangular (d, d) L with L Lᵀ = A Aᵀ, of an A of shape (d, d) or wider."""
    _, upper = np.linalg.qr(root.T)
    return np.ascontiguousarray(upper.T)
