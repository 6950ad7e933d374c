import numpy as np
import pytest

from loadgen.evaluation.recovery import recovery_steps, slowed
from tests.unit.loadgen.evaluation.steps import a_step


def errors(*runs: tuple[float, int]) -> np.ndarray:
    return np.concatenate([np.full(count, error) for error, count in runs])


def test_an_engine_slows_down_in_the_middle_and_its_clock_runs_on() -> None:
    steps = slowed([a_step(number) for number in range(5)], 1.5)
    assert [step.duration_s for step in steps] == pytest.approx([0.02, 0.02, 0.03, 0.03, 0.03])
    assert [step.at_s for step in steps] == pytest.approx([0.02, 0.04, 0.07, 0.10, 0.13])
    assert [step.shape for step in steps] == [a_step(number).shape for number in range(5)]


def test_recovery_is_the_first_step_with_fifty_behind_it_whose_mean_error_is_back() -> None:
    # With 0.5 for 20 steps and then 0.01, fifty steps average 0.015 once a single bad one is no longer among them.
    assert recovery_steps(errors((0.01, 600), (0.5, 20), (0.01, 580))) == 70
    # 0.024 twenty times and 0.008 thirty times average 0.0144 at once.
    assert recovery_steps(errors((0.01, 600), (0.024, 20), (0.008, 580))) == 50


def test_only_the_five_hundred_steps_before_the_change_say_what_is_normal() -> None:
    assert recovery_steps(errors((9.0, 100), (0.01, 500), (0.02, 600))) is None


def test_a_models_first_steps_do_not_say_what_is_normal() -> None:
    assert recovery_steps(errors((9.0, 10), (0.01, 90), (0.02, 100))) is None


def test_what_stays_bad_or_cannot_be_told_is_none() -> None:
    assert recovery_steps(errors((0.01, 600), (0.5, 600))) is None
    assert recovery_steps(errors((0.01, 8), (0.01, 8))) is None
    assert recovery_steps(errors((0.01, 49), (0.01, 49))) is None
