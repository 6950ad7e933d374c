"""Goals: means over workloads, run by run, and whether chance could have it otherwise."""

import pytest

from loadgen.experiments.goals import (
    PERCENT,
    POINTS,
    TIMES,
    Goal,
    at_rate,
    falls_to,
    means,
    over_workloads,
    points_ahead,
    with_interval,
)
from loadgen.student import Estimate


def test_a_goal_tells_what_was_reached_and_by_how_much_it_was_missed():
    goal = Goal("43 points", 43.0, Estimate(41.0, 1.0, 5), POINTS, {"code": 12.0, "mixed": 70.0})
    assert goal.found == "+41.0 ± 1.0 points (code +12.0, mixed +70.0)"
    assert goal.verdict == "missed by 2.0 points"
    assert Goal("", 90.0, Estimate(90.0, None, 1), PERCENT).verdict == "met"


@pytest.mark.parametrize(("mean", "verdict"), [(0.42, "met; the interval holds both"), (0.3, "met")])
def test_what_was_to_be_small_is_met_below(mean, verdict):
    assert Goal("half of it", 0.5, Estimate(mean, 0.1, 5), TIMES, at_most=True).verdict == verdict


def test_what_chance_may_have_missed_is_told():
    assert Goal("", 1.15, Estimate(1.1, 0.2, 5), TIMES).verdict == "missed by 0.05×; the interval holds both"


def test_workloads_are_averaged_run_by_run():
    by_workload = {"code": points_ahead((0.9, 0.7), (0.4, 0.4)), "mixed": points_ahead((0.5, 0.7), (0.5, 0.5))}
    found = over_workloads(by_workload)
    assert found.mean == pytest.approx(25.0)
    assert found.ci95 == pytest.approx(0.0)
    assert means(by_workload) == pytest.approx({"code": 40.0, "mixed": 10.0})
    assert with_interval(found, POINTS) == "+25.0 ± 0.0 points"


@pytest.mark.parametrize(
    ("attained", "rate"),
    [
        ({1.0: 0.95, 1.2: 0.85}, 1.1),
        ({1.2: 0.85, 1.0: 0.8}, 0.5),
        ({1.0: 0.95, 1.2: 0.92}, 1.2),
        ({1.0: 0.95, 1.2: 0.80, 1.4: 0.95}, 1.0 + 0.2 / 3),
    ],
)
def test_the_rate_at_which_attainment_falls_is_between_those_that_were_run(attained, rate):
    assert falls_to(0.9, attained) == pytest.approx(rate)


@pytest.mark.parametrize(("rate", "value"), [(0.5, 50.0), (1.0, 100.0), (1.1, 95.0), (1.2, 90.0), (2.0, 90.0)])
def test_what_comes_of_a_rate_is_between_what_was_run(rate, value):
    assert at_rate(rate, {1.2: 90.0, 1.0: 100.0}) == pytest.approx(value)
