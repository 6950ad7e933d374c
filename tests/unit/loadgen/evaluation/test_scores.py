import numpy as np
import pytest

from loadgen.evaluation.prequential import Foreseen
from loadgen.evaluation.scores import score


def foreseen(actual_s: list[float], expected_s: list[float], mixed: list[bool], ahead_s: float = 1.0) -> Foreseen:
    """Ten steps that do not count, foreseen absurdly, then those given; intervals of ±10 % about what is expected."""
    actual, expected = np.array([1.0] * 10 + actual_s), np.array([99.0] * 10 + expected_s)
    every_mixed = np.array([False] * 10 + mixed)
    return Foreseen(every_mixed, actual, expected, 0.9 * expected, 1.1 * expected, np.full(len(actual), ahead_s))


def test_errors_and_coverage_are_means_over_counted_steps_by_regime() -> None:
    scored = score(foreseen([1.0, 2.0, 4.0], [1.0, 1.5, 3.0], [False, False, True]))
    assert scored.steps == 13
    assert scored.mape == pytest.approx((0 + 0.25 + 0.25) / 3)
    assert (scored.mape_decode, scored.mape_mixed) == pytest.approx((0.125, 0.25))
    assert (scored.coverage90, scored.coverage90_decode, scored.coverage90_mixed) == pytest.approx((1 / 3, 0.5, 0))
    assert scored.width90_ms == pytest.approx(1e3 * 0.2 * (1.0 + 1.5 + 3.0) / 3)


def test_r2_compares_the_residuals_in_seconds_with_the_spread() -> None:
    # Mean 7/3: total (16 + 1 + 25)/9, residual 0.25 + 1.
    assert score(foreseen([1.0, 2.0, 4.0], [1.0, 1.5, 3.0], [False] * 3)).r2 == pytest.approx(1 - 1.25 / (42 / 9))
    assert score(foreseen([2.0, 2.0], [1.0, 1.5], [False] * 2)).r2 is None


def test_the_first_two_hundred_steps_count_apart() -> None:
    scored = score(foreseen([1.0] * 290, [1.1] * 190 + [1.0] * 100, [False] * 290))
    assert scored.mape_first200 == pytest.approx(0.1)
    assert scored.mape == pytest.approx(0.1 * 190 / 290)


def test_fifty_ahead_counts_from_step_sixty() -> None:
    steps = foreseen([1.0] * 52, [1.0] * 52, [False] * 52, ahead_s=7.0)
    steps.ahead_s[60:] = 1.5, 0.9
    assert score(steps).mape_h50 == pytest.approx((0.5 + 0.1) / 2)


def test_what_no_step_tells_is_none() -> None:
    scored = score(foreseen([1.0], [1.0], [False]))
    assert (scored.mape_mixed, scored.coverage90_mixed, scored.mape_h50, scored.r2) == (None, None, None, None)
    assert score(foreseen([], [], [])).mape is None
