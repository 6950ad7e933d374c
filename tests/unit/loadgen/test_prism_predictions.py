"""The figures of prism's predictions, from outcomes."""

import pytest

from loadgen.benchmarks.prism_predictions import figures
from tests.unit.loadgen.outcomes import an_outcome


def test_errors_are_relative_to_what_came_and_ratios_show_a_bias() -> None:
    found = figures([an_outcome(p_met=0.9), an_outcome(engine="small", predicted_tpot_s=0.04, p_met=0.7)])
    assert found["ttft_mape"] == pytest.approx(0.2)
    everything, large, small, _interactive = found["predictions"]
    assert everything["ttft"]["ratio_p50"] == pytest.approx(1.25)
    assert large["tpot"]["error_p50"] == pytest.approx(0.0)
    assert small["tpot"]["ratio_p50"] == pytest.approx(1.25)
    assert found["brier"] == pytest.approx((0.1**2 + 0.3**2) / 2)


def test_what_did_not_end_well_counts_as_a_broken_promise_and_for_no_time() -> None:
    found = figures([an_outcome(p_met=0.9), an_outcome(p_met=0.9, error="it broke", ttft_s=9.0)])
    assert found["ttft_mape"] == pytest.approx(0.2)
    assert found["reliability"] == [{"p_met": [0.9, 1.0], "requests": 2, "foreseen": 0.9, "met": 1}]


def test_without_predictions_there_are_no_figures() -> None:
    found = figures([an_outcome(predicted_ttft_s=None, predicted_tpot_s=None)])
    assert (found["ttft_mape"], found["tpot_mape"], found["brier"]) == (None, None, None)
