import msgspec
import pytest

from loadgen.load import Settings
from loadgen.plots import timeline_plot
from loadgen.plots.timeline import MOST_BARS, bar_width_s
from loadgen.report import Report, make_report
from tests.unit.loadgen.outcomes import an_outcome

SETTINGS = Settings(url="http://router", model="a-model", requests=2, seed=3, timeout_s=60.0)


def a_report(duration_s: float, engines: int = 2) -> Report:
    outcomes = [
        an_outcome(arrival_s=duration_s * number / 600, engine=f"engine-{number % engines}", ttft_s=0.2 + number % 3)
        for number in range(600)
    ]
    return make_report(msgspec.structs.replace(SETTINGS, warm_up_s=duration_s / 10), outcomes, (), (), duration_s)


@pytest.mark.parametrize("duration_s", [0.5, 40.0, 151.0, 1800.0, 100_000.0])
def test_bars_are_of_round_widths_and_few_enough_to_be_seen(duration_s):
    assert duration_s / bar_width_s(duration_s) <= MOST_BARS
    assert bar_width_s(40.0) == 1.0
    assert bar_width_s(1800.0) == 15.0


def test_a_long_run_is_told_in_minutes_and_stays_light():
    drawing = timeline_plot(a_report(1800.0))
    assert "minutes into the run" in drawing
    assert len(drawing) < 500_000
    assert "seconds into the run" in timeline_plot(a_report(40.0))


def test_engines_that_are_not_shown_are_counted():
    assert "2 engines that served fewer requests are not shown" in timeline_plot(a_report(40.0, engines=10))
    assert "not shown" not in timeline_plot(a_report(40.0, engines=8))


def test_each_panel_says_how_many_missed_a_target():
    assert "engine-0: 300 requests, 200 missed a target" in timeline_plot(a_report(40.0))
