"""Predictions are corrected by how earlier ones came true, and what is learned stays the ratio to the raw prediction."""

import pytest

from services.prism.calibration import Calibration
from services.prism.chances import TTFT_DEVIATION
from services.prism.fleet import Fleet, Pool
from services.prism.prompt_size import Ask
from services.prism.route import Route, choose
from shared.forecast import ModelHealth
from shared.slo import Slo
from tests.unit.prism.builders import MODEL, engine

ASK = Ask(prompt_tokens=1000, output_tokens=100)


def _routed(calibration: Calibration | None, slo: Slo, health: ModelHealth = ModelHealth.HEALTHY) -> Route:
    fleet = Fleet(pool=Pool.of((engine("a", health=health),)), age_s=0.0)
    return choose(fleet, {}, ASK, slo, model=MODEL, draw=0.5, calibration=calibration)


def _calibration(ttft_ratios: tuple[float, ...], tpot_ratio: float = 1.0) -> Calibration:
    calibration = Calibration()
    for number in range(300):
        ttft_s = 0.1 * ttft_ratios[number % len(ttft_ratios)]
        calibration.note("a", 0.1, ttft_s, 0.02, 0.02 * tpot_ratio)
    return calibration


def test_a_lasting_error_is_corrected_and_the_route_says_by_how_much() -> None:
    raw = _routed(None, Slo())
    corrected = _routed(_calibration((1.5,), 1.2), Slo())
    assert raw.predicted_ttft_s is not None
    assert raw.predicted_tpot_s is not None
    assert corrected.predicted_ttft_s is not None
    assert corrected.predicted_tpot_s is not None
    assert corrected.predicted_ttft_s == pytest.approx(1.5 * raw.predicted_ttft_s, rel=0.05)
    assert corrected.predicted_tpot_s == pytest.approx(1.2 * raw.predicted_tpot_s, rel=0.05)
    assert corrected.predicted_ttft_s / corrected.correction.ttft_factor == pytest.approx(raw.predicted_ttft_s)
    assert corrected.predicted_tpot_s / corrected.correction.tpot_factor == pytest.approx(raw.predicted_tpot_s)


def test_a_time_that_a_pace_holds_is_not_lengthened_and_teaches_no_factor() -> None:
    pace_s = 0.015
    slo = Slo(tpot_s=pace_s)
    raw, corrected = _routed(None, slo), _routed(_calibration((1.0,), 3.0), slo)
    assert raw.predicted_tpot_s is not None
    assert corrected.predicted_tpot_s is not None
    assert corrected.predicted_tpot_s <= pace_s
    assert corrected.correction.tpot_factor == pytest.approx(corrected.predicted_tpot_s / raw.predicted_tpot_s)


def test_errors_that_scatter_make_a_promise_less_sure_and_correct_little() -> None:
    raw = _routed(None, Slo())
    assert raw.predicted_ttft_s is not None
    slo = Slo(ttft_s=raw.predicted_ttft_s * (1 + 2 * TTFT_DEVIATION))
    scattered = _routed(_calibration((0.4, 2.5)), slo)
    sure = _routed(_calibration((1.0,)), slo)
    assert scattered.p_met is not None
    assert sure.p_met is not None
    assert scattered.p_met < sure.p_met - 0.05
    assert sure.p_met == pytest.approx(_routed(None, slo).p_met, abs=0.02)
    assert scattered.correction.ttft_factor == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(
    ("health", "known"),
    [
        (ModelHealth.COLD, False),
        (ModelHealth.WARMING, False),
        (ModelHealth.HEALTHY, True),
        (ModelHealth.DRIFTING, True),
    ],
)
def test_a_route_says_whether_its_prediction_can_be_learned_from(health: ModelHealth, known: bool) -> None:
    assert _routed(None, Slo(), health=health).model_known is known
