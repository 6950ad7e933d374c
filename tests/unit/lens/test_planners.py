"""Each planner by what sets it apart."""

import pytest

from services.lens.plan import PlanLimits, Queue, Room, shape_of
from services.lens.planners import PUBLISHED_CHUNK_TOKENS, RELEGATED_AT, planner_named
from services.lens.sequence import Allotment, Sequence
from services.lens.synergy import synergy
from shared.slo import Slo
from tests.unit.lens.builders import in_engine, model, sequence

LIMITS = PlanLimits(max_step_tokens=1000, least_prefill_tokens=2, target_s=0.02)
ROOM = Room(slots=100, blocks=10_000, block_tokens=4)


def running(prompt_tokens: int, computed_tokens: int) -> Sequence:
    return in_engine(sequence(prompt_tokens), computed_tokens)


def arrived(prompt_tokens: int, arrival_s: float, ttft_s: float = 2.0) -> Sequence:
    return sequence(prompt_tokens, arrival_s=arrival_s, slo=Slo(ttft_s=ttft_s))


def plan(
    name: str,
    those_in: list[Sequence],
    waiting: list[Sequence],
    *,
    room: Room = ROOM,
    now_s: float = 0.0,
    limits: PlanLimits = LIMITS,
) -> tuple[Allotment, ...]:
    return planner_named(name)(Queue(those_in, waiting, room, now_s, now_s), model(), limits)


def tokens_of(allotments: tuple[Allotment, ...]) -> list[int]:
    return [allotment.num_tokens for allotment in allotments]


def test_a_name_that_is_no_planner_is_refused_with_those_there_are():
    for name in ("sarathi", "static-", "static-0", "static-12-later"):
        with pytest.raises(ValueError, match=r"synergy, published, prefill-first, static-N"):
            planner_named(name)


def test_synergy_is_what_runs_where_nothing_is_set():
    assert planner_named("synergy") is synergy


def test_a_static_budget_is_filled_with_decodes_first_then_chunks_in_order_of_arrival():
    decode, started = running(4, 4), running(30, 10)
    first, second = sequence(8), sequence(50)
    allotments = plan("static-40", [decode, started], [first, second])
    assert [(a.sequence, a.num_tokens) for a in allotments] == [(decode, 1), (started, 20), (first, 8), (second, 11)]


def test_a_static_budget_is_the_same_however_long_its_step_takes():
    assert tokens_of(plan("static-512", [], [sequence(900)])) == [512]


def test_a_static_budget_is_no_larger_than_the_engine_allows():
    assert tokens_of(plan("static-8192", [], [sequence(9000)])) == [1000]


def test_decodes_beyond_a_static_budget_wait():
    assert tokens_of(plan("static-2", [running(4, 4) for _ in range(3)], [sequence(4)])) == [1, 1]


def test_a_prompt_that_is_nearly_too_late_goes_behind_everyone_on_time():
    now_s = 10.0
    late, on_time = arrived(30, now_s - 2.0 * RELEGATED_AT), arrived(30, now_s - 2.0 * RELEGATED_AT + 0.1)
    started_late = in_engine(arrived(30, 0.0), 10)
    in_order = plan("static-40", [started_late], [late, on_time], now_s=now_s)
    relegated = plan("static-40-relegating", [started_late], [late, on_time], now_s=now_s)
    assert [a.sequence for a in in_order] == [started_late, late]
    assert [(a.sequence, a.num_tokens) for a in relegated] == [(on_time, 30), (started_late, 10)]


def test_a_prompt_without_a_target_or_with_its_first_token_is_never_late():
    without, recomputed = sequence(10), arrived(10, 0.0)
    recomputed.output_ids.append(1)
    late = arrived(10, 0.0)
    allotments = plan("static-40-relegating", [], [late, without, recomputed], now_s=100.0)
    assert [a.sequence for a in allotments] == [without, recomputed, late]


def test_one_that_does_not_fit_holds_back_those_that_wait_behind_it_but_nobody_in_the_engine():
    room = Room(slots=5, blocks=4, block_tokens=4)  # 16 tokens
    small, large, behind = sequence(4, 4), sequence(100, 1), sequence(1, 1)
    started = running(50, 10)
    allotments = plan("static-100", [started], [small, large, behind], room=room)
    assert [a.sequence for a in allotments] == [started, small]


def test_a_triaging_budget_is_ours_but_for_the_size_of_steps():
    hopeless, on_time = sequence(3000, slo=Slo(ttft_s=0.5)), sequence(100, slo=Slo(ttft_s=0.5))
    decode = in_engine(sequence(4, slo=Slo(tpot_s=0.02)), 4)
    allotments = plan("static-40-triaging", [decode], [hopeless, on_time])
    kept_for_the_late = LIMITS.least_prefill_tokens
    shares = [(a.sequence, a.num_tokens) for a in allotments]
    assert shares == [(decode, 1), (on_time, 39 - kept_for_the_late), (hopeless, kept_for_the_late)]
    assert sum(tokens_of(plan("synergy", [decode], [hopeless, on_time]))) < 40


def test_prefill_first_lets_decodes_wait_for_whole_prompts():
    decode, first, second = running(4, 4), sequence(300), sequence(400)
    allotments = plan("prefill-first", [decode], [first, second, sequence(400)])
    assert [(a.sequence, a.num_tokens) for a in allotments] == [(first, 300), (second, 400)]
    assert plan("prefill-first", [decode], []) == (Allotment(decode, 1, False),)


def test_prefill_first_runs_a_prompt_that_no_step_holds_in_several():
    long = sequence(1500)
    assert tokens_of(plan("prefill-first", [], [long])) == [1000]
    in_engine(long, 1000)
    assert tokens_of(plan("prefill-first", [long], [sequence(300)])) == [500, 300]


def test_prefill_first_decodes_where_no_prompt_fits():
    decode = running(4, 4)
    assert plan("prefill-first", [decode], [sequence(4)], room=Room(0, 100, 4)) == (Allotment(decode, 1, False),)


@pytest.mark.parametrize(("waiting", "tokens"), [(1, 12), (3, 26), (5, 40), (9, 40)])  # 15 ms, 36 ms, 50 ms at most
def test_the_published_target_grows_with_the_queue_alone(waiting: int, tokens: int):
    """10 ms and 1 ms a token: 15 ms + 7 ms a waiting request, up to 50 ms."""
    allotments = plan("published", [], [sequence(100) for _ in range(waiting)])
    assert sum(tokens_of(allotments)) == tokens


def test_the_published_order_is_by_what_is_left_of_started_prompts_then_by_arrival():
    longer, shorter, waiting = running(100, 70), running(100, 95), sequence(100)
    allotments = plan("published", [longer, shorter], [waiting] * 5)
    assert [a.sequence for a in allotments] == [shorter, longer, waiting]


def test_published_chunks_are_bounded():
    fast = model(base_s=0.001, per_token_s=1e-6)
    allotments = planner_named("published")(Queue([], [sequence(900)], ROOM, 0.0, 0.0), fast, LIMITS)
    assert tokens_of(allotments) == [PUBLISHED_CHUNK_TOKENS]


def test_shapes_of_a_plan_are_what_its_chunks_add_up_to():
    shape = shape_of(plan("static-40", [running(30, 10)], [sequence(50)]))
    assert shape == (2, 40, 10, 20 * (10 + 10.0) + 20 * 10.0, 2)
