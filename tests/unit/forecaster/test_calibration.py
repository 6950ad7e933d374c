import math
import random

import pytest

from services.forecaster.calibration import LEAST_DEVIATION, Factor, Regime, Spread


def followed(factor: Factor, ratios: list[float]) -> None:
    for ratio in ratios:
        factor.learn(ratio, 1.0, math.log(ratio / factor.value))


def test_a_factor_follows_what_is_passing():
    factor = Factor(gain=0.25)
    followed(factor, [1.1] * 30)
    assert factor.value == pytest.approx(1.1, rel=1e-3)


def test_a_stall_moves_a_factor_no_further_than_its_range_allows():
    factor = Factor(gain=0.25)
    followed(factor, [100.0])
    assert factor.value == pytest.approx(1.1)


def test_the_noise_is_learned_within_two_hundred_steps_and_stalls_do_not_move_it():
    chance, spread = random.Random(1), Spread()
    for number in range(200):
        spread.learn(chance.gauss(0, 0.05) if number % 10 else 1.6, 0.0)
    assert spread.deviation == pytest.approx(0.05, rel=0.35)


@pytest.mark.parametrize("skewed", [False, True])
def test_each_quantile_is_missed_one_time_in_twenty_whatever_the_distribution(skewed):
    chance, spread = random.Random(2), Spread()
    below = above = 0
    for _ in range(5000):
        lower, upper = spread.lower, spread.upper
        units = spread.learn(chance.expovariate(20) - 0.05 if skewed else chance.gauss(0, 0.05), 0.0)
        below, above = below + (units < -lower), above + (units > upper)
    assert below / 5000 == pytest.approx(0.05, abs=0.01)
    assert above / 5000 == pytest.approx(0.05, abs=0.01)


def test_what_the_model_doubts_is_not_taken_for_noise():
    spread = Spread()
    before = spread.deviation
    for residual in (0.4, -0.35) * 100:
        spread.learn(residual, 0.3**2)
    assert spread.deviation == pytest.approx(before, rel=1.0)


def test_an_even_engine_keeps_a_least_noise():
    spread = Spread()
    for _ in range(2000):
        spread.learn(0.0, 0.0)
    assert spread.deviation == LEAST_DEVIATION
    assert spread.lower >= 0
    assert spread.upper >= 0


def taught(regime: Regime, ratios: list[float]) -> list[bool]:
    return [regime.learn(ratio, 1.0, regime.next_factor, regime.lasting.value, 0.0) for ratio in ratios]


def test_the_next_step_is_foreseen_by_the_last_ones_where_they_have_much_in_common():
    regime, chance, ratio = Regime(), random.Random(3), 1.0
    errors: list[tuple[float, float]] = []
    for _ in range(1000):
        ratio = 1.0 + 0.9 * (ratio - 1.0) + chance.gauss(0, 0.01)
        errors.append((abs(ratio - regime.next_factor), abs(ratio - regime.lasting.value)))
        taught(regime, [ratio])
    following, lasting = map(sum, zip(*errors, strict=True))
    assert following < 0.8 * lasting


def test_and_by_the_lasting_factor_where_they_have_nothing_in_common():
    regime, chance = Regime(), random.Random(4)
    chosen = []
    for _ in range(1000):
        chosen.append(regime.next_factor == regime.lasting.value)
        taught(regime, [math.exp(chance.gauss(0, 0.1))])
    assert sum(chosen[100:]) > 0.8 * 900


def test_a_regime_goes_on_from_its_numbers():
    regime, restored = Regime(), Regime()
    taught(regime, [1.05, 0.97, 1.2])
    restored.restore(regime.state)
    assert taught(restored, [1.1, 0.9]) == taught(regime, [1.1, 0.9])
    assert restored.state == regime.state
