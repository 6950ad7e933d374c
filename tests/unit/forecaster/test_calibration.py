import math
import random

import pytest

from services.forecaster.calibration import LEAST_DEVIATION, Calibration


def taught(calibration: Calibration, ratios: list[float], doubt: float = 0.0) -> list[float]:
    return [calibration.learn(ratio, calibration.factor, 1.0, doubt) for ratio in ratios]


def test_the_factor_follows_what_is_passing():
    calibration = Calibration(gain=0.25)
    taught(calibration, [1.1] * 30)
    assert calibration.factor == pytest.approx(1.1, rel=1e-3)


def test_a_stall_moves_the_factor_no_further_than_its_range_allows():
    calibration = Calibration(gain=0.25)
    taught(calibration, [100.0])
    assert calibration.factor == pytest.approx(1.1)


def test_the_noise_is_learned_within_fifty_steps_and_stalls_do_not_move_it():
    chance, calibration = random.Random(1), Calibration(gain=0.0)
    taught(calibration, [math.exp(chance.gauss(0, 0.05)) * (1 if i % 10 else 5) for i in range(200)])
    assert calibration.deviation == pytest.approx(0.05, rel=0.35)


@pytest.mark.parametrize("skewed", [False, True])
def test_each_quantile_is_missed_one_time_in_twenty_whatever_the_distribution(skewed):
    chance, calibration = random.Random(2), Calibration(gain=0.0)
    below = above = 0
    for _ in range(5000):
        ratio = math.exp(chance.expovariate(20) - 0.05 if skewed else chance.gauss(0, 0.05))
        lower, upper = calibration.lower, calibration.upper
        deviations = calibration.learn(ratio, 1.0, 1.0, 0.0)
        below, above = below + (deviations < -lower), above + (deviations > upper)
    assert below / 5000 == pytest.approx(0.05, abs=0.01)
    assert above / 5000 == pytest.approx(0.05, abs=0.01)


def test_what_the_model_doubts_is_not_taken_for_noise():
    calibration = Calibration(gain=0.0)
    before = calibration.deviation
    taught(calibration, [1.5, 0.7] * 100, doubt=0.3**2)
    assert calibration.deviation == pytest.approx(before, rel=1.0)


def test_an_even_engine_keeps_a_least_noise():
    calibration = Calibration(gain=0.0)
    taught(calibration, [1.0] * 2000)
    assert calibration.deviation == LEAST_DEVIATION
    assert calibration.lower >= 0
    assert calibration.upper >= 0


def test_a_calibration_goes_on_from_its_numbers():
    calibration, restored = Calibration(gain=0.1), Calibration(gain=0.1)
    taught(calibration, [1.05, 0.97, 1.2])
    restored.restore(calibration.state)
    assert taught(restored, [1.1, 0.9]) == taught(calibration, [1.1, 0.9])
    assert restored.state == calibration.state
