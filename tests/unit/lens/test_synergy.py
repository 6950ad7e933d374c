"""Our planner by what promises make of a step."""

import pytest

from services.lens.plan import PlanLimits, Queue, Room
from services.lens.promise import MOST_GAP_PACES
from services.lens.sequence import Allotment, Sequence
from services.lens.synergy import synergy
from shared.pacing import PACED_AT
from shared.slo import Slo
from shared.steptime import Residuals, StepModel
from tests.step_models import step_model
from tests.unit.lens.builders import NO_TARGETS, in_engine, sequence

LIMITS = PlanLimits(max_step_tokens=2000, least_prefill_tokens=8, target_s=0.15)
ROOM = Room(slots=100, blocks=10_000, block_tokens=4)
CERTAIN = Residuals(upper=0.0)
EXACT = step_model(base=0.01, per_token=0.001, decode_residuals=CERTAIN, mixed_residuals=CERTAIN)
INTERACTIVE = Slo(ttft_s=1.0, tpot_s=0.05 / PACED_AT)
"""Paced at 50 ms a token."""


def plan(
    running: list[Sequence],
    waiting: list[Sequence],
    *,
    starts_s: float = 0.0,
    room: Room = ROOM,
    model: StepModel = EXACT,
) -> list[tuple[Sequence, int]]:
    allotments = synergy(Queue(running, waiting, room, starts_s, starts_s), model, LIMITS)
    assert all(isinstance(allotment, Allotment) for allotment in allotments)
    return [(allotment.sequence, allotment.num_tokens) for allotment in allotments]


def answering(
    *, first_token_s: float = 0.0, slo: Slo = INTERACTIVE, prompt_tokens: int = 4, tokens: int = 100
) -> Sequence:
    return in_engine(sequence(prompt_tokens, tokens, slo=slo), prompt_tokens, first_token_s)


def waiting(prompt_tokens: int, slo: Slo = INTERACTIVE, arrival_s: float = 0.0) -> Sequence:
    return sequence(prompt_tokens, slo=slo, arrival_s=arrival_s)


def test_nothing_to_run_is_an_empty_plan():
    assert plan([], []) == []


def test_a_step_lasts_until_the_next_token_of_an_answer_is_due():
    decode, prompt = answering(), waiting(500)
    assert plan([decode], [prompt]) == [(decode, 1), (prompt, 39)]  # 10 ms + 40 · 1 ms = 50 ms


def test_an_answer_that_is_ahead_lends_its_credit_to_prompts():
    decode, prompt = answering(first_token_s=0.07), waiting(500)
    assert plan([decode], [prompt]) == [(decode, 1), (prompt, 109)]  # due at 120 ms


def test_no_credit_buys_a_gap_beyond_the_cap():
    decode, prompt = answering(first_token_s=0.9), waiting(1500, NO_TARGETS)
    assert plan([decode], [prompt]) == [(decode, 1), (prompt, int(MOST_GAP_PACES * 50) - 10 - 1)]


def test_an_answer_that_is_behind_lets_prompts_get_on_more_slowly_while_it_catches_up():
    decode, prompt = answering(first_token_s=0.0), waiting(500)
    (_, (_, num_tokens)) = plan([decode], [prompt], starts_s=0.06)
    assert num_tokens == 29  # 80 % of 50 ms


def test_an_answer_that_cannot_keep_its_promise_any_more_holds_nothing_up_beyond_the_cap_of_gaps():
    lost, prompt = answering(first_token_s=0.0, tokens=3), waiting(500)
    assert plan([lost], [prompt], starts_s=0.45) == [(lost, 1), (prompt, 189)]
    kept = answering(first_token_s=0.42)
    assert plan([kept, lost], [prompt], starts_s=0.45) == [(kept, 1), (lost, 1), (prompt, 8)]  # 20 ms until 470 ms


def test_where_nobody_is_answered_a_prompt_is_computed_at_once():
    prompt = waiting(900)
    assert plan([], [prompt]) == [(prompt, 900)]


def test_short_prompts_share_a_step():
    prompts = [waiting(100) for _ in range(3)]
    assert plan([], prompts) == [(prompt, 100) for prompt in prompts]


def test_a_prompt_is_not_held_up_by_one_that_has_more_time():
    """The second would make the first wait for its first token until 1.2 s."""
    urgent, patient = waiting(700, Slo(ttft_s=0.8)), waiting(700, Slo(ttft_s=5.0))
    assert plan([], [patient, urgent]) == [(urgent, 700), (patient, 90)]


def test_a_prompt_that_cannot_be_on_time_goes_behind_those_that_can():
    hopeless, on_time = waiting(1500), waiting(300)
    assert [s for s, _ in plan([answering()], [hopeless, on_time])][1:] == [on_time, hopeless]


def test_a_relegated_prompt_gets_on_however_much_there_is_to_do():
    hopeless, on_time = waiting(1500), waiting(300, Slo(ttft_s=5.0))
    _, (first, _), (second, num_tokens) = plan([answering()], [hopeless, on_time])
    assert (first, second) == (on_time, hopeless)
    assert num_tokens == LIMITS.least_prefill_tokens


def test_a_relegated_prompt_gets_all_the_room_where_nobody_else_wants_it():
    hopeless = waiting(1500)
    assert plan([], [hopeless], starts_s=5.0) == [(hopeless, 1500)]


def test_an_uncertain_model_makes_smaller_steps():
    certain, uncertain = EXACT, step_model(base=0.01, per_token=0.001)
    sizes = [plan([answering()], [waiting(500)], model=model)[1][1] for model in (certain, uncertain)]
    assert sizes[0] > sizes[1] > 0
    assert (0.010 + (1 + sizes[1]) * 0.001) * uncertain.upper_ratio <= 0.05


def test_what_has_no_room_holds_back_those_behind_it_but_nobody_in_the_engine():
    started, large, small = in_engine(waiting(60, arrival_s=0.5), 10), waiting(100), waiting(10)
    assert plan([started], [large, small], room=Room(slots=5, blocks=4, block_tokens=4)) == [(started, 50)]


@pytest.mark.parametrize("starts_s", [0.0, 0.2, 30.0])
def test_requests_without_targets_are_served(starts_s):
    decode, prompt = answering(slo=NO_TARGETS), waiting(100, NO_TARGETS)
    assert [s for s, _ in plan([decode], [prompt], starts_s=starts_s)] == [decode, prompt]


def test_an_answer_that_was_promised_the_impossible_takes_nothing_from_prompts():
    e2e_gone = in_engine(sequence(4, 100, slo=Slo(e2e_s=0.5)), 4, 1.0)
    assert e2e_gone.pace_s == 0.0
    prompt = waiting(20, arrival_s=1.0)
    assert dict(plan([e2e_gone], [prompt], starts_s=1.0))[prompt] == 20


def test_lost_answers_rest_where_they_would_break_a_promise_but_for_no_longer_than_the_cap():
    costly = step_model(base=0.01, per_sequence=0.01, decode_residuals=CERTAIN, mixed_residuals=CERTAIN)
    kept = answering(first_token_s=0.0, tokens=1000)
    lost = [in_engine(sequence(4, 100, slo=Slo(ttft_s=0.01, tpot_s=0.05)), 4, 0.02) for _ in range(5)]
    assert [s for s, _ in plan([kept, *lost], [], starts_s=0.02, model=costly)] == [kept]  # 70 ms are more than 30 ms
    rested = plan([kept, *lost], [], starts_s=0.2, model=costly)
    assert [s for s, _ in rested] == [kept, *lost]


def test_answers_beyond_what_a_step_holds_take_turns():
    answers = [answering(first_token_s=place / 1000) for place in range(5)]
    few = LIMITS._replace(max_step_tokens=3)
    allotments = synergy(Queue(answers, [waiting(9)], ROOM, 0.01, 0.01), EXACT, few)
    assert [a.sequence for a in allotments] == answers[:3]
    for answer in answers[:3]:
        answer.advance(1, 0.02)
    allotments = synergy(Queue(answers, [], ROOM, 0.02, 0.02), EXACT, few)
    assert [a.sequence for a in allotments][:2] == answers[3:]


def test_an_answer_that_was_interrupted_goes_before_prompts():
    interrupted = answering(first_token_s=0.1)
    interrupted.accept(1, 0.1)
    interrupted.recompute(engine_failed=True)
    prompt = waiting(50)
    assert [s for s, _ in plan([], [prompt, interrupted], starts_s=0.8)] == [interrupted, prompt]


def test_a_prompt_that_waits_too_long_is_let_in_before_all_others():
    room = Room(slots=1, blocks=10_000, block_tokens=4)
    forgotten, fresh = waiting(1500, arrival_s=0.0), waiting(100, arrival_s=100.0)
    assert [s for s, _ in plan([], [forgotten, fresh], starts_s=10.0, room=room)] == [fresh]
    (joined, _), *_ = plan([], [forgotten, fresh], starts_s=100.0, room=room)
    assert joined is forgotten


def test_nobody_joins_before_a_forgotten_prompt_that_has_no_room_yet():
    room = Room(slots=5, blocks=100, block_tokens=4)
    forgotten, fresh = waiting(1500, arrival_s=0.0), waiting(100, arrival_s=100.0)
    assert plan([answering()], [forgotten, fresh], starts_s=100.0, room=room)[1:] == []


def test_a_stream_that_missed_its_target_and_is_recomputed_is_let_in_before_prompts_after_a_few_seconds():
    stalled = answering(first_token_s=0.1)
    stalled.accept(1, 10.0)
    assert stalled.is_lost
    stalled.recompute(engine_failed=False)
    stalled.runs_until_s = 10.0
    fresh = waiting(900, arrival_s=16.0)
    room = Room(slots=1, blocks=10_000, block_tokens=4)
    assert [s for s, _ in plan([], [stalled, fresh], starts_s=14.0, room=room)] == [fresh]
    assert next(s for s, _ in plan([], [stalled, fresh], starts_s=16.0, room=room)) is stalled


def test_of_those_that_cannot_be_on_time_who_has_begun_to_answer_goes_first():
    earlier, begun = waiting(3000, arrival_s=0.0), answering(first_token_s=0.1)
    begun.accept(1, 10.0)
    begun.recompute(engine_failed=False)
    begun.runs_until_s = 10.0
    allotments = synergy(Queue([], [earlier, begun], ROOM, 11.0, 11.0), EXACT, LIMITS)
    assert allotments[0].sequence is begun
    assert allotments[0].is_relegated


def test_an_answer_whose_pace_keeps_many_prompts_waiting_is_given_up_and_its_steps_grow():
    tight = answering(slo=Slo(ttft_s=1.0, tpot_s=0.02 / PACED_AT))
    usual, prompts = answering(), [waiting(100) for _ in range(8)]
    queue = Queue([tight, usual], prompts, ROOM, 0.0, 0.0)
    allotments = synergy(queue, EXACT, LIMITS)
    assert allotments[:2] == (Allotment(tight, 1, is_prefill=False, is_relegated=True), usual.decode)
    assert (
        sum(allotment.num_tokens for allotment in allotments) == 40 + LIMITS.least_prefill_tokens
    )  # 50 ms, and the floor of the relegated

    kept = synergy(queue._replace(waiting=prompts[:3]), EXACT, LIMITS)
    assert kept[:2] == (tight.decode, usual.decode)
    assert sum(allotment.num_tokens for allotment in kept) == 10


def test_what_is_given_up_stays_so_and_does_not_bind_steps_that_others_are_in():
    given_up, usual = answering(slo=Slo(ttft_s=1.0, tpot_s=0.02 / PACED_AT)), answering()
    given_up.give_up()
    prompt = waiting(100)
    assert plan([given_up, usual], [prompt]) == [(given_up, 1), (usual, 1), (prompt, 38)]


def test_a_given_up_answer_that_has_to_be_recomputed_goes_behind_prompts_that_can_be_on_time():
    given_up = answering(first_token_s=0.1)
    given_up.give_up()
    given_up.accept(1, 0.1)
    given_up.recompute(engine_failed=False)
    earlier_due, prompt = given_up.due_s, waiting(50)
    assert earlier_due < prompt.due_s
    first, second = synergy(Queue([], [given_up, prompt], ROOM, 0.0, 0.0), EXACT, LIMITS)
    assert (first.sequence, first.is_relegated) == (prompt, False)
    assert (second.sequence, second.is_relegated) == (given_up, True)
