import numpy as np
import pytest
from scipy.optimize import nnls

from services.forecaster.least_squares import FORGETTING, LeastSquares

DRAW = np.random.default_rng(3)


def rows(steps: int, width: int = 4) -> np.ndarray:
    drawn: np.ndarray = DRAW.uniform(0.1, 2.0, (steps, width))
    return drawn


def batch_solution(x: np.ndarray, durations: np.ndarray, mean: np.ndarray, root: np.ndarray) -> np.ndarray:
    """The same least squares at once: λ-weighted relative residuals, and the prior, which is forgotten at the same pace."""
    age = FORGETTING ** (np.arange(len(x), 0, -1) / 2 - 0.5)
    weighted = age[:, np.newaxis] * x / durations[:, np.newaxis]
    prior = FORGETTING ** (len(x) / 2) * np.linalg.inv(root)
    left, right = np.vstack((weighted, prior)), np.concatenate((age, prior @ mean))
    solution: np.ndarray = np.linalg.lstsq(left, right, rcond=None)[0]
    return solution


def learned(x: np.ndarray, durations: np.ndarray, mean: np.ndarray, root: np.ndarray) -> LeastSquares:
    filter_ = LeastSquares(mean, root)
    for row, duration in zip(x, durations.tolist(), strict=True):
        filter_.learn(row, filter_.project(row), duration, size=duration)
    return filter_


def test_learning_step_by_step_is_the_batch_solution():
    x, mean, root = rows(200), np.array([1.0, 0.5, 0.2, 0.1]), np.tril(DRAW.uniform(0.5, 2.0, (4, 4)))
    durations = x @ np.array([2.0, 1.0, 0.5, 3.0]) * DRAW.normal(1.0, 0.05, 200)
    filter_ = learned(x, durations, mean, root)
    assert filter_.free == pytest.approx(batch_solution(x, durations, mean, root), rel=1e-6)


def test_the_root_is_the_inverse_of_the_information():
    x, root = rows(50), np.eye(4)
    durations = np.ones(50)
    filter_ = learned(x, durations, np.zeros(4), root)
    age = FORGETTING ** np.arange(49, -1, -1)
    information = (x.T * age) @ x + FORGETTING**50 * np.eye(4)
    assert filter_.root @ filter_.root.T == pytest.approx(np.linalg.inv(information), rel=1e-6)


def test_the_constrained_estimate_is_the_nearest_in_the_metric_of_the_information():
    for _ in range(50):
        root = np.tril(DRAW.uniform(-1.0, 1.0, (6, 6))) + 2 * np.eye(6)
        filter_ = LeastSquares(DRAW.normal(0.0, 1.0, 6), root)
        whitener = np.linalg.inv(root)
        expected, _ = nnls(whitener, whitener @ filter_.free)
        assert filter_.constrained() == pytest.approx(expected, abs=1e-9)


def test_a_free_estimate_without_negatives_is_left_as_it_is():
    filter_ = LeastSquares(np.array([1.0, 0.0, 2.0]), np.eye(3))
    assert filter_.constrained().tolist() == [1.0, 0.0, 2.0]


def test_no_direction_becomes_less_certain_than_the_prior_was():
    root = np.diag([1.0, 5.0, 0.1])
    filter_ = LeastSquares(np.ones(3), root)
    for _ in range(30_000):
        row = np.array([1.0, 0.0, 0.0])
        filter_.learn(row, filter_.project(row), 1.0, size=1.0)
    variances = np.diag(filter_.root @ filter_.root.T)
    assert variances[1:] == pytest.approx([25.0, 0.01], rel=0.06)


def test_loosening_widens_all_directions_and_one_more():
    filter_ = LeastSquares(np.ones(3), 10 * np.eye(3))
    filter_.root = np.asfortranarray(np.eye(3))
    filter_.loosen(4.0, np.array([3.0, 0.0, 0.0]))
    assert filter_.root @ filter_.root.T == pytest.approx(np.diag([13.0, 4.0, 4.0]))


def test_loosening_goes_no_further_than_the_prior():
    filter_ = LeastSquares(np.ones(3), np.eye(3))
    filter_.loosen(4.0, np.array([3.0, 0.0, 0.0]))
    assert filter_.root @ filter_.root.T == pytest.approx(np.eye(3))


def test_the_triangle_is_a_root_of_the_same_covariance():
    filter_ = learned(rows(20), np.ones(20), np.zeros(4), np.eye(4))
    triangle = filter_.triangle()
    assert np.triu(triangle, 1) == pytest.approx(np.zeros((4, 4)))
    assert triangle @ triangle.T == pytest.approx(filter_.root @ filter_.root.T)


@pytest.mark.parametrize("apart", [0.0, 1e-12, 1e-9, 1e-6])
def test_coefficients_that_are_as_good_as_the_same_are_held_at_zero_and_move_no_other_far(apart):
    filter_ = LeastSquares(np.array([-1.0, -2.0, 1.0]), np.eye(3))
    filter_.root = np.asfortranarray([[1.0, 0.0, 0.5], [1.0, apart, 0.5], [0.0, 1.0, 1.0]])
    assert filter_.constrained().tolist() == pytest.approx([0.0, 0.0, 1.6], abs=0.5)


def test_a_coefficient_that_is_certain_is_held_at_zero_too():
    filter_ = LeastSquares(np.array([-1.0, 1.0]), np.eye(2))
    filter_.root = np.asfortranarray([[0.0, 0.0], [0.0, 1.0]])
    assert filter_.constrained().tolist() == [0.0, 1.0]


def test_the_units_of_coefficients_make_no_difference():
    root, free = np.tril(DRAW.uniform(-1.0, 1.0, (5, 5))) + 2 * np.eye(5), DRAW.normal(0.0, 1.0, 5)
    units = np.array([1.0, 1e-3, 1e-6, 1e-9, 1e-2])
    plain, scaled = LeastSquares(free, root), LeastSquares(units * free, units[:, np.newaxis] * root)
    assert scaled.constrained() / units == pytest.approx(plain.constrained())
