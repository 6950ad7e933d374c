import random

import pytest

from services.forecaster.drift import DriftTest


def first_alarm(residuals: list[float]) -> int | None:
    test = DriftTest()
    return next((number for number, residual in enumerate(residuals, start=1) if test.update(residual)), None)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_lasting_change_is_seen_within_a_dozen_steps(sign):
    assert first_alarm([sign * 10.0] * 50) == 11


def test_noise_is_no_change():
    chance = random.Random(1)
    assert first_alarm([chance.gauss(0, 1) for _ in range(100_000)]) is None


def test_neither_a_stall_nor_a_small_bias_is_a_change():
    assert first_alarm([1e9, *[0.0] * 50] * 100) is None
    assert first_alarm([1.0] * 10_000) is None


def test_the_sums_start_anew_after_a_change():
    test = DriftTest()
    while not test.update(10.0):
        pass
    assert test.sums == (0.0, 0.0)
