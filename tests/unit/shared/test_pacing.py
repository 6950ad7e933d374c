"""How targets are divided among the tokens of an answer."""

import pytest

from shared.pacing import (
    LEAST_FIRST_SHARE,
    LIKELY_OUTPUT_TOKENS,
    PACED_AT,
    REFERENCE_TPOT_S,
    REFERENCE_TTFT_S,
    USUAL_TPOT_S,
    first_due_s,
    likely_tokens,
    pace_s,
)
from shared.slo import Slo


def test_a_limit_is_no_length_unless_the_answer_goes_on_to_it():
    assert (likely_tokens(100), likely_tokens(10**5), likely_tokens(None)) == (100, *(LIKELY_OUTPUT_TOKENS,) * 2)
    assert likely_tokens(10**5, ignores_end=True) == 10**5


def test_targets_of_tokens_are_taken_as_they_are():
    slo = Slo(ttft_s=0.8, tpot_s=0.1)
    assert first_due_s(slo, 100) == 0.8
    assert pace_s(slo, 100, 0.5) == pytest.approx(PACED_AT * 0.1)


def test_what_is_not_promised_is_reckoned_with_laxly():
    assert (first_due_s(Slo(), 100), pace_s(Slo(), 100, 3.0)) == (REFERENCE_TTFT_S, PACED_AT * REFERENCE_TPOT_S)
    assert first_due_s(Slo(tpot_s=0.1), 100) == REFERENCE_TTFT_S
    assert pace_s(Slo(ttft_s=1.0), 100, 0.5) == PACED_AT * REFERENCE_TPOT_S


def test_of_an_e2e_target_the_longer_answer_leaves_less_before_its_first_token():
    slo = Slo(e2e_s=20.0)
    assert first_due_s(slo, 1) == 20.0
    assert first_due_s(slo, 101) == pytest.approx(20.0 - 100 * USUAL_TPOT_S)
    assert first_due_s(slo, 10_000) == LEAST_FIRST_SHARE * 20.0


def test_beside_an_e2e_target_the_others_hold_too():
    assert first_due_s(Slo(ttft_s=1.0, e2e_s=20.0), 101) == 1.0
    assert first_due_s(Slo(tpot_s=0.02, e2e_s=20.0), 101) == pytest.approx(18.0)
    lax = Slo(tpot_s=0.2, e2e_s=20.0)  # it will be paced faster than it need be
    assert first_due_s(lax, 101) == pytest.approx(20.0 - 100 * USUAL_TPOT_S)
    assert pace_s(lax, 101, 20.0 - 100 * USUAL_TPOT_S) == pytest.approx(PACED_AT * USUAL_TPOT_S)
    assert pace_s(Slo(tpot_s=0.02, e2e_s=20.0), 101, 1.0) == pytest.approx(PACED_AT * 0.02)


def test_an_answer_is_paced_so_that_it_ends_in_time_however_late_it_began():
    assert pace_s(Slo(e2e_s=20.0), 101, 15.0) == pytest.approx(PACED_AT * 0.05)
    assert pace_s(Slo(e2e_s=20.0), 101, 10.0) == pytest.approx(PACED_AT * 0.1)
    assert pace_s(Slo(e2e_s=20.0), 101, 25.0) == 0.0


def test_an_answer_of_one_token_has_no_pace_to_keep():
    assert pace_s(Slo(e2e_s=2.0), 1, 0.5) == PACED_AT * REFERENCE_TPOT_S
