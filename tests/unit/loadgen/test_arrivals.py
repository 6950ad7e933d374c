import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.arrivals import (
    constant_arrivals,
    gamma_arrivals,
    mean_rate_per_s,
    poisson_arrivals,
    ramp_arrivals,
    replayed_arrivals,
)

RANDOM = {
    "poisson": lambda rng: poisson_arrivals(4.0, 20_000, rng),
    "gamma": lambda rng: gamma_arrivals(4.0, 3.0, 20_000, rng),
    "ramp": lambda rng: ramp_arrivals(2.0, 6.0, 20_000, rng),
}
rates = st.floats(0.01, 1000.0)


def rng(seed: int = 7) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("name", "tolerance"), [("poisson", 0.03), ("gamma", 0.08), ("ramp", 0.03)])
def test_arrivals_come_at_the_rate_asked_for(name, tolerance):
    arrivals_s = RANDOM[name](rng())
    assert len(arrivals_s) / arrivals_s[-1] == pytest.approx(4.0, rel=tolerance)


@pytest.mark.parametrize("cv", [0.3, 1.0, 3.0])
def test_gaps_are_as_irregular_as_they_were_asked_to_be(cv):
    gaps_s = np.diff(gamma_arrivals(4.0, cv, 50_000, rng()))
    assert np.std(gaps_s) / np.mean(gaps_s) == pytest.approx(cv, rel=0.05)


def test_gaps_are_as_irregular_as_a_poisson_process_has_them():
    gaps_s = np.diff(poisson_arrivals(4.0, 20_000, rng()))
    assert np.std(gaps_s) / np.mean(gaps_s) == pytest.approx(1.0, rel=0.03)


def test_constant_arrivals_are_evenly_apart():
    assert constant_arrivals(4.0, 4) == (0.25, 0.5, 0.75, 1.0)


@pytest.mark.parametrize("name", RANDOM)
def test_arrivals_only_move_forward_from_the_start(name):
    arrivals_s = RANDOM[name](rng())
    assert arrivals_s[0] > 0
    assert list(arrivals_s) == sorted(arrivals_s)


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_gives_the_same_arrivals_again(name):
    once, again = (RANDOM[name](rng(3)) for _ in range(2))
    assert once == again
    assert once != RANDOM[name](rng(4))


@pytest.mark.parametrize(("from_per_s", "to_per_s"), [(2.0, 18.0), (18.0, 2.0), (10.0, 10.0)])
def test_a_ramp_goes_from_one_rate_to_the_other(from_per_s, to_per_s):
    arrivals_s = np.array(ramp_arrivals(from_per_s, to_per_s, 40_000, rng()))
    tenth_s = 2 * 40_000 / (from_per_s + to_per_s) / 10
    slope = (to_per_s - from_per_s) / 10
    first, last = np.sum(arrivals_s < tenth_s), np.sum((arrivals_s >= 9 * tenth_s) & (arrivals_s < 10 * tenth_s))
    assert first / tenth_s == pytest.approx(from_per_s + slope / 2, rel=0.1)
    assert last / tenth_s == pytest.approx(to_per_s - slope / 2, rel=0.1)


@given(rates, rates, st.integers(1, 200), st.integers(0, 2**32))
def test_any_ramp_is_finite_and_moves_forward(from_per_s, to_per_s, count, seed):
    arrivals_s = np.array(ramp_arrivals(from_per_s, to_per_s, count, rng(seed)))
    assert np.all(np.isfinite(arrivals_s))
    assert np.all(np.diff(arrivals_s) >= 0)
    assert arrivals_s[0] >= 0


def test_a_replay_keeps_the_gaps_and_begins_at_once():
    assert replayed_arrivals([5.0, 6.0, 9.0]) == (0.0, 1.0, 4.0)


def test_a_replay_at_another_rate_keeps_the_shape():
    assert replayed_arrivals([5.0, 6.0, 9.0], rate_per_s=1.0) == (0.0, 0.5, 2.0)


def test_a_replay_at_a_rate_comes_to_it_on_average():
    assert mean_rate_per_s(replayed_arrivals((3.0, 4.0, 11.0), rate_per_s=5.0)) == pytest.approx(5.0)
    assert mean_rate_per_s((2.0, 2.0)) == 0.0


def test_arrivals_in_one_instant_have_no_rate_to_change():
    with pytest.raises(ValueError, match="one instant"):
        replayed_arrivals([5.0, 5.0], rate_per_s=1.0)
