"""What a router is told of an engine: who is there, when what waits is due, what comes, and what answers can lend."""

import math

import pytest

from services.lens.load import RATES_FORGET_S, Arrivals, Load, load_of
from services.lens.sequence import Sequence
from shared.engine_state import DUE_INTERVALS
from shared.pacing import PACED_AT
from shared.slo import Slo
from tests.unit.lens.builders import in_engine, sequence


def seen(
    live: tuple[Sequence, ...] = (), waiting: tuple[Sequence, ...] = (), *, now_s: float = 0.0, in_flight_s: float = 0.0
) -> Load:
    return load_of(live, waiting, kv_blocks_free=7, in_flight_s=in_flight_s, arrivals=Arrivals(), now_s=now_s)


def answering(ttft_s: float = 1.0, tpot_s: float = 0.1, *, first_token_s: float = 0.5) -> Sequence:
    """With its first token on its way, that is there at this time."""
    return in_engine(sequence(4, slo=Slo(ttft_s=ttft_s, tpot_s=tpot_s)), 4, first_token_s)


def interval(number: int, count: int) -> tuple[int, ...]:
    return tuple(count if place == number else 0 for place in range(DUE_INTERVALS))


def test_an_idle_engine_has_nothing() -> None:
    idle = seen()
    assert (idle.decode_seqs, idle.prefill_seqs, idle.kv_tokens, idle.waiting_prefill_tokens) == (0, 0, 0, 0)
    assert (idle.pace_s, idle.credit_s, idle.kv_blocks_free) == (math.inf, 0.0, 7)


def test_prompts_half_computed_count_with_what_is_left_of_them() -> None:
    load = seen((in_engine(sequence(10), 4), in_engine(sequence(6), 6)), (sequence(5),))
    assert (load.prefill_seqs, load.decode_seqs, load.waiting_requests) == (1, 1, 1)
    assert (load.kv_tokens, load.waiting_prefill_tokens) == (10, 11)


@pytest.mark.parametrize(
    ("ttft_s", "now_s", "place"),
    [
        (0.2, 0.0, 0),
        (0.25, 0.0, 0),  # its edge belongs to an interval
        (0.3, 0.0, 1),
        (0.3, 0.1, 0),
        (3.0, 0.0, 4),
        (30.0, 0.0, 7),
        (None, 0.0, 6),  # wanted within 10 s
    ],
)
def test_what_waits_is_told_apart_by_when_it_is_due(ttft_s: float | None, now_s: float, place: int) -> None:
    load = seen(waiting=(sequence(9, slo=Slo(ttft_s=ttft_s)),), now_s=now_s)
    assert load.prefill_tokens_by_due == interval(place, 9)
    assert load.prefills_by_due == interval(place, 1)


def test_what_is_late_waits_but_is_due_no_more() -> None:
    load = seen(waiting=(sequence(9, slo=Slo(ttft_s=0.5)),), now_s=0.5)
    assert (load.waiting_prefill_tokens, sum(load.prefill_tokens_by_due), sum(load.prefills_by_due)) == (9, 0, 0)


def test_the_tightest_answer_sets_the_pace_and_the_next_that_is_due_how_much_can_be_lent() -> None:
    load = seen((answering(tpot_s=0.1), answering(tpot_s=0.2)), now_s=0.5, in_flight_s=0.0)
    assert load.pace_s == pytest.approx(PACED_AT * 0.1)
    assert load.credit_s == pytest.approx(0.0)  # the next token is due in a pace


def test_answers_that_are_ahead_lend_what_steps_on_their_way_leave() -> None:
    ahead = answering(first_token_s=0.5)
    for _ in range(3):
        ahead.advance(1, 0.5)
    pace_s = PACED_AT * 0.1
    assert seen((ahead,), now_s=0.5).credit_s == pytest.approx(3 * pace_s)
    assert seen((ahead,), now_s=0.5, in_flight_s=0.1).credit_s == pytest.approx(3 * pace_s - 0.1)
    assert seen((ahead,), now_s=9.0).credit_s == 0.0


def test_an_answer_that_began_late_binds_nobody() -> None:
    load = seen((answering(ttft_s=0.1, first_token_s=0.5),), now_s=0.5)
    assert (load.decode_seqs, load.pace_s, load.credit_s) == (1, math.inf, 0.0)


def test_rates_are_told_apart_by_the_time_given() -> None:
    arrivals = Arrivals()
    arrivals.note(sequence(30, slo=Slo(ttft_s=0.2)))
    arrivals.note(sequence(50, slo=Slo(ttft_s=9.0, e2e_s=3.0)))
    arrivals.note(sequence(70))
    weight_s = RATES_FORGET_S * (1 - math.exp(-1 / RATES_FORGET_S))  # at least a second's
    expected = [
        (30 * (place == 0) + 50 * (place == 4) + 70 * (place == 6)) / weight_s for place in range(DUE_INTERVALS)
    ]
    assert arrivals.tokens_per_s(0.0) == pytest.approx(expected)
    assert arrivals.per_s(0.0) == pytest.approx(3 / weight_s)


def test_a_steady_rate_is_found_from_the_first_second_on_and_forgotten_when_it_ends() -> None:
    arrivals = Arrivals()
    for second in range(60):
        for tenth in range(10):
            arrivals.note(sequence(20, arrival_s=second + tenth / 10))
        assert arrivals.per_s(second + 1.0) == pytest.approx(10.0, rel=0.06)
    assert sum(arrivals.tokens_per_s(60.0)) == pytest.approx(200.0, rel=0.06)
    assert arrivals.per_s(60.0 + RATES_FORGET_S) == pytest.approx(10.0 / math.e, rel=0.06)


def test_nothing_has_come_where_nothing_came_and_a_clock_that_goes_back_harms_nothing() -> None:
    arrivals = Arrivals()
    assert arrivals.per_s(5.0) == 0.0
    arrivals.note(sequence(20, arrival_s=9.0))
    before = arrivals.per_s(9.0)
    assert arrivals.per_s(8.0) == pytest.approx(before, rel=0.5)
    assert arrivals.per_s(9.0) == before
