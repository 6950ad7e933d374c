import numpy as np
import pytest

from loadgen.arrivals import poisson_arrivals


def test_arrivals_come_at_the_rate_asked_for() -> None:
    arrivals_s = poisson_arrivals(4.0, 20_000, np.random.default_rng(7))
    assert arrivals_s[-1] / len(arrivals_s) == pytest.approx(0.25, rel=0.03)


def test_gaps_are_as_irregular_as_a_poisson_process_has_them() -> None:
    gaps_s = np.diff(poisson_arrivals(4.0, 20_000, np.random.default_rng(7)))
    assert np.std(gaps_s) / np.mean(gaps_s) == pytest.approx(1.0, rel=0.03)


def test_arrivals_only_move_forward_from_the_start() -> None:
    arrivals_s = poisson_arrivals(1.0, 100, np.random.default_rng(1))
    assert arrivals_s[0] > 0
    assert list(arrivals_s) == sorted(arrivals_s)


def test_a_seed_gives_the_same_arrivals_again() -> None:
    once, again = (poisson_arrivals(1.0, 50, np.random.default_rng(3)) for _ in range(2))
    assert once == again
    assert once != poisson_arrivals(1.0, 50, np.random.default_rng(4))
