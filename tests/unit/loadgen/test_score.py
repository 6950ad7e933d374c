from typing import Any

import pytest

from loadgen.score import ALL, score, score_groups
from shared.slo import Slo
from tests.unit.loadgen.outcomes import PROMISE, an_outcome


def test_attainment_counts_every_target_over_all_that_was_offered() -> None:
    outcomes = [
        an_outcome(),
        an_outcome(ttft_s=1.1, e2e_s=1.2),
        an_outcome(e2e_s=2.0),
        an_outcome(error="refused", status=429),
    ]
    scored = score(outcomes)
    assert (scored.offered, scored.ended_well, scored.attained, scored.attainment) == (4, 3, 1, 0.25)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"error": "the engine has gone"}, "the engine has gone"),
        ({"finish_reason": None}, "finish_reason None"),
        ({"text": ""}, "no text"),
        ({"output_tokens": None}, "no usage"),
    ],
)
def test_what_did_not_end_well_says_why_and_attains_nothing(fields: dict[str, Any], problem: str) -> None:
    outcome = an_outcome(slo=Slo(), **fields)
    assert problem in str(outcome.problem)
    assert not outcome.attained


def test_tpot_leaves_the_first_token_out() -> None:
    assert an_outcome(ttft_s=0.5, e2e_s=1.5, output_tokens=11).tpot_s == pytest.approx(0.1)


def test_an_answer_of_one_token_has_no_tpot_to_miss() -> None:
    outcome = an_outcome(output_tokens=1)
    assert outcome.tpot_s is None
    assert outcome.attained


def test_percentiles_interpolate_over_those_that_ended_well() -> None:
    outcomes = [an_outcome(ttft_s=ttft_s, e2e_s=5.0) for ttft_s in (1.0, 2.0, 3.0)]
    ttft_s = score([*outcomes, an_outcome(error="gone", ttft_s=100.0)]).ttft_s
    assert ttft_s is not None
    assert (ttft_s.p50, ttft_s.p95) == pytest.approx((2.0, 2.9))


def test_foresight_compares_only_requests_that_have_both_times() -> None:
    outcomes = [
        an_outcome(predicted_ttft_s=0.8, ttft_s=1.0, e2e_s=3.0),
        an_outcome(predicted_ttft_s=3.0, ttft_s=2.0, e2e_s=3.0),
        an_outcome(predicted_ttft_s=None),
    ]
    foreseen = score(outcomes).ttft_foresight
    assert foreseen is not None
    assert foreseen.count == 2
    assert (foreseen.predicted_p50_s, foreseen.actual_p50_s, foreseen.error_p50) == pytest.approx((1.9, 1.5, 0.35))


def test_an_answer_that_came_all_at_once_has_no_relative_error_of_tpot() -> None:
    assert score([an_outcome(ttft_s=1.0, e2e_s=1.0)]).tpot_foresight is None


def test_nothing_that_ended_well_gives_no_times() -> None:
    scored = score([an_outcome(error="gone")])
    assert (scored.ttft_s, scored.ttft_foresight, scored.attainment) == (None, None, 0.0)


def test_groups_are_each_engine_and_class_then_each_class_then_all() -> None:
    batch = Slo(name="batch")
    outcomes = [
        an_outcome(engine="small", slo=batch),
        an_outcome(engine="large", slo=PROMISE),
        an_outcome(engine="large", slo=batch),
        an_outcome(engine=None, slo=batch, error="refused"),
    ]
    groups = score_groups(outcomes)
    assert list(groups) == [
        ("large", "batch"),
        ("large", "interactive"),
        ("none", "batch"),
        ("small", "batch"),
        (ALL, "batch"),
        (ALL, "interactive"),
        (ALL, ALL),
    ]
    assert groups[ALL, "batch"].offered == 3
    assert groups[ALL, ALL].offered == 4


def test_the_total_is_of_all_whatever_a_class_or_an_engine_is_called() -> None:
    outcomes = [an_outcome(engine=ALL, slo=Slo(name=ALL)), an_outcome(engine="b", slo=Slo(name="z"))]
    groups = score_groups(outcomes)
    assert list(groups)[-1] == (ALL, ALL)
    assert groups[ALL, ALL].offered == 2
