"""Predictions are judged by what came of them: by engine, with those of the fleet where few are known."""

import math

import numpy as np
import pytest

from services.prism.calibration import (
    FIRST_DEVIATION,
    LEAST_DEVIATION,
    MOST_RATIO,
    UNCORRECTED,
    Calibration,
    Errors,
)


def _noted(calibration: Calibration, engine: str, ratio: float, times: int) -> None:
    for _ in range(times):
        calibration.note(engine, 0.2, 0.2 * ratio, 0.02, 0.02 * ratio)


def test_before_any_request_has_ended_predictions_stand_with_a_presumed_deviation() -> None:
    assert Calibration().of("a") == Errors(1.0, FIRST_DEVIATION, 1.0, FIRST_DEVIATION) == UNCORRECTED


def test_a_lasting_error_is_found_and_a_new_engine_is_thought_to_be_like_the_others() -> None:
    calibration = Calibration()
    _noted(calibration, "a", 1.5, 200)
    assert calibration.of("a").ttft_factor == pytest.approx(1.5, rel=0.02)
    assert calibration.of("a").tpot_deviation < 0.1
    assert calibration.of("new").ttft_factor == pytest.approx(1.5, rel=0.05)


def test_engines_are_told_apart() -> None:
    calibration = Calibration()
    for _ in range(300):
        _noted(calibration, "slower", 2.0, 1)
        _noted(calibration, "faster", 0.8, 1)
    assert calibration.of("slower").tpot_factor == pytest.approx(2.0, rel=0.1)
    assert calibration.of("faster").tpot_factor == pytest.approx(0.8, rel=0.1)
    between = calibration.of("new")
    assert 0.8 < between.tpot_factor < 2.0
    assert between.tpot_deviation > 0.3  # it may be like either


def test_the_deviation_is_that_of_the_logarithms() -> None:
    rng, calibration = np.random.default_rng(0), Calibration()
    for residual in rng.normal(0.1, 0.25, 1000):
        calibration.note("a", 0.2, 0.2 * math.exp(residual), None, None)
    known = calibration.of("a")
    assert known.ttft_deviation == pytest.approx(0.25, rel=0.25)
    assert math.log(known.ttft_factor) == pytest.approx(0.1, abs=0.08)
    assert (known.tpot_factor, known.tpot_deviation) == (1.0, FIRST_DEVIATION)  # nothing was said of it


def test_a_change_is_followed_within_some_hundred_requests() -> None:
    calibration = Calibration()
    _noted(calibration, "a", 1.0, 500)
    _noted(calibration, "a", 2.0, 300)
    assert calibration.of("a").ttft_factor == pytest.approx(2.0, rel=0.1)


def test_corrections_do_not_feed_on_themselves_however_late_outcomes_come() -> None:
    """Each prediction is corrected by what is known when it is made; its outcome comes fifty requests later."""
    calibration, raw_s, actual_s, late = Calibration(), 0.1, 0.18, 50
    under_way: list[Errors] = []
    factors = []
    for _ in range(600):
        under_way.append(calibration.of("a"))
        factors.append(under_way[-1].ttft_factor)
        if len(under_way) > late:
            made = under_way.pop(0)
            calibration.note("a", raw_s * made.ttft_factor, actual_s, None, None, made)
    assert factors[-1] == pytest.approx(actual_s / raw_s, rel=0.02)
    assert max(factors) <= actual_s / raw_s * 1.001  # never beyond


def test_an_absurd_outcome_says_no_more_than_the_bound() -> None:
    calibration = Calibration()
    for actual_s in (1e9, math.inf):
        for _ in range(300):
            calibration.note("a", 0.0, actual_s, 1e-9, actual_s)
    known = calibration.of("a")
    assert 1.0 < known.ttft_factor <= MOST_RATIO
    assert LEAST_DEVIATION <= known.tpot_deviation <= 2 * math.log(MOST_RATIO)


def test_an_engine_that_is_not_asked_any_more_comes_to_be_thought_of_like_the_others() -> None:
    calibration = Calibration()
    _noted(calibration, "shunned", 4.0, 100)
    _noted(calibration, "asked", 1.0, 100)
    before = calibration.of("shunned").ttft_factor
    _noted(calibration, "asked", 1.0, 3000)
    assert before > 3.0
    assert calibration.of("shunned").ttft_factor < 1.3


def test_many_engines_at_once_are_as_each_by_itself() -> None:
    calibration = Calibration()
    for number in range(20):
        _noted(calibration, f"e{number}", 1.0 + number / 10, 10)
    names = ("e3", "new", "e19", "e0")
    together = calibration.of_engines(names)
    for place, name in enumerate(names):
        assert Errors(*(values[place] for values in together)) == pytest.approx(calibration.of(name))


def test_only_so_many_engines_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.prism.calibration.MOST_ENGINES", 3)
    calibration = Calibration()
    _noted(calibration, "first", 4.0, 50)
    for number in range(10):
        _noted(calibration, f"e{number}", 1.0, 50)
    assert len(calibration._rows) == 3
    assert len(calibration._weights) <= 8
    assert calibration.of("first") == calibration.of("never heard of")


def test_what_is_asked_for_again_has_what_was_learned_since() -> None:
    calibration, names = Calibration(), ("a", "b")
    before = calibration.of_engines(names).ttft_factor.tolist()
    _noted(calibration, "a", 2.0, 50)  # of which nothing was known
    assert calibration.of_engines(names).ttft_factor[0] > before[0]
    _noted(calibration, "a", 3.0, 200)
    assert calibration.of_engines(names).ttft_factor[0] > 2.0
