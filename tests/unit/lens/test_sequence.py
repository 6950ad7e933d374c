"""By when a sequence's next token is due, whatever becomes of it."""

import pytest

from services.lens.sequence import Sequence
from shared.pacing import PACED_AT, REFERENCE_TPOT_S, REFERENCE_TTFT_S, USUAL_TPOT_S
from shared.slo import Slo
from tests.unit.lens.builders import NO_TARGETS, in_engine, sequence


def answering(slo: Slo, *, foreseen_s: float = 1.0, came_s: float = 1.0, tokens: int = 11) -> Sequence:
    """An answer whose first token was foreseen and came, and whose second is due next."""
    began = in_engine(sequence(4, tokens, slo=slo), 4, foreseen_s)
    began.accept(1, came_s)
    return began


def test_the_first_token_is_due_by_the_ttft_target():
    assert sequence(slo=Slo(ttft_s=2.0), arrival_s=3.0).due_s == 5.0


def test_without_targets_there_are_lax_ones():
    waiting = sequence(slo=NO_TARGETS, arrival_s=3.0)
    assert (waiting.due_s, waiting.pace_s) == (3.0 + REFERENCE_TTFT_S, PACED_AT * REFERENCE_TPOT_S)


def test_an_e2e_target_leaves_time_for_the_answer():
    assert sequence(max_output_tokens=41, slo=Slo(e2e_s=6.0)).due_s == pytest.approx(6.0 - 40 * USUAL_TPOT_S)
    assert sequence(max_output_tokens=41, slo=Slo(ttft_s=1.0, e2e_s=6.0)).due_s == 1.0


def test_from_the_first_token_on_each_next_is_due_a_little_less_than_a_target_later():
    paced = answering(Slo(ttft_s=2.0, tpot_s=0.1))
    assert paced.due_s == pytest.approx(1.0 + PACED_AT * 0.1)
    paced.advance(1, 1.02)
    assert paced.due_s == pytest.approx(1.0 + 2 * PACED_AT * 0.1)


def test_the_first_token_counts_as_it_came_not_as_it_was_foreseen():
    assert answering(Slo(tpot_s=0.1), foreseen_s=1.0, came_s=1.5).due_s == pytest.approx(1.5 + PACED_AT * 0.1)


def test_what_is_left_of_an_e2e_target_paces_the_answer():
    assert answering(Slo(e2e_s=2.0), tokens=11).pace_s == pytest.approx(PACED_AT * 0.1)
    assert answering(Slo(e2e_s=2.0, tpot_s=0.05), tokens=11).pace_s == PACED_AT * 0.05


@pytest.mark.parametrize(
    ("slo", "missed"),
    [(Slo(ttft_s=0.9), True), (Slo(ttft_s=1.1), False), (Slo(e2e_s=0.9), True), (Slo(tpot_s=0.1), False)],
)
def test_only_a_promise_can_be_missed(slo, missed):
    late = answering(slo) if slo.tpot_s is None else answering(slo, came_s=2 * REFERENCE_TTFT_S)
    assert late.is_lost is missed


def test_recomputed_without_a_token_it_is_due_as_at_first():
    lost = in_engine(sequence(4, slo=Slo(ttft_s=0.5)), 4, 1.0)
    assert lost.is_lost
    lost.recompute(engine_failed=True)
    assert (lost.due_s, lost.is_lost) == (0.5, False)


def test_recomputed_with_tokens_it_is_due_where_it_stopped():
    lost = answering(Slo(ttft_s=2.0, tpot_s=0.1))
    lost.advance(1, 1.02)
    lost.recompute(engine_failed=True)
    assert lost.due_s == pytest.approx(1.0 + PACED_AT * 0.1)


def test_what_is_given_up_is_lost_for_good():
    given_up = answering(Slo(ttft_s=2.0, tpot_s=0.1))
    given_up.give_up()
    given_up.advance(1, 1.02)
    given_up.recompute(engine_failed=False)
    given_up.advance(len(given_up.prefill_ids), 1.5)
    given_up.accept(1, 1.5)
    assert given_up.is_lost
    assert given_up.relegated
