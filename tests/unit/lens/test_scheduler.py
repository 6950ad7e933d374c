import pytest

from services.lens.plan import PlanLimits
from services.lens.scheduler import Scheduler, SentStep
from shared.step import NO_TOKEN, EngineInfo, StepResult
from shared.telemetry import Outcome
from tests.unit.lens.builders import END_ID, engine_info, model, sequence

LIMITS = PlanLimits(max_step_tokens=32, least_prefill_tokens=4, target_s=1.0)


def scheduler(info: EngineInfo | None = None) -> Scheduler:
    return Scheduler(info or engine_info(), boot_id=7, epoch=1)


def send(of: Scheduler) -> SentStep:
    sent = of.plan(model(), LIMITS)
    assert sent is not None
    return sent


def answer(of: Scheduler, token_id: int = 5) -> list[tuple[str, int]]:
    """Answer the oldest step on its way, every draw giving the same token."""
    sent = of.in_flight[0]
    sampled = tuple(token_id if chunk.sample else NO_TOKEN for chunk in sent.plan.chunks)
    result = StepResult(boot_id=7, epoch=sent.plan.epoch, step=sent.plan.step, sampled_ids=sampled)
    return [(p.sequence.request_id, p.token_id) for p in of.apply(result, 0.0)[1]]


def test_a_prompt_is_prefilled_and_its_last_chunk_draws():
    of = scheduler()
    of.add(sequence(prompt_tokens=40))
    chunks = [send(of).plan.chunks[0], send(of).plan.chunks[0]]
    assert [(c.first_position, c.num_tokens, c.sample, c.sampling is not None) for c in chunks] == [
        (0, 32, False, True),
        (32, 8, True, False),
    ]


def test_a_decode_is_sent_before_the_token_that_it_continues_is_back():
    of = scheduler()
    of.add(sequence(prompt_tokens=4))
    send(of)
    ahead = send(of).plan.chunks[0]
    assert (ahead.token_ids, ahead.first_position) == (None, 4)


def test_steps_of_an_epoch_count_from_one():
    of = scheduler()
    of.add(sequence())
    assert [send(of).plan.step, send(of).plan.step] == [1, 2]


def test_the_token_drawn_behind_the_end_is_dropped():
    of = scheduler()
    of.add(sequence())
    send(of), send(of)
    assert answer(of, END_ID) == [("r", END_ID)]
    assert answer(of, 5) == []


def test_a_slot_is_free_only_after_the_last_step_that_carried_it():
    of = scheduler(engine_info(slots=1))
    first, second = sequence(name="first"), sequence(name="second")
    of.add(first)
    of.add(second)
    send(of), send(of)
    answer(of, END_ID)
    assert of.plan(model(), LIMITS) is None
    answer(of)
    reused = send(of).plan
    assert (reused.released_slots, reused.chunks[0].slot) == ((0,), 0)


def test_the_limit_of_output_tokens_ends_a_sequence_without_a_wasted_draw():
    of = scheduler()
    short = sequence(max_output_tokens=2)
    of.add(short)
    send(of), send(of)
    assert of.plan(model(), LIMITS) is None
    answer(of), answer(of)
    assert (short.outcome, list(short.output_ids)) == (Outcome.LENGTH, [5, 5])


def test_an_idle_engine_is_told_of_released_slots():
    of = scheduler()
    of.add(sequence(max_output_tokens=1))
    send(of), answer(of)
    release = send(of).plan
    assert (release.chunks, release.released_slots) == ((), (0,))


def test_a_client_that_leaves_frees_its_slot_within_two_steps():
    of = scheduler()
    leaving = sequence()
    of.add(leaving)
    send(of), send(of)
    of.end(leaving, Outcome.CANCELLED)
    answer(of), answer(of)
    assert (of.running, of.load(0.0).kv_blocks_free) == ({}, 64)


def test_a_client_that_leaves_the_queue_was_never_there():
    of = scheduler()
    leaving = sequence()
    of.add(leaving)
    of.end(leaving, Outcome.CANCELLED)
    assert of.plan(model(), LIMITS) is None


def test_a_prompt_that_does_not_fit_the_cache_waits_and_holds_its_place():
    of = scheduler(engine_info(blocks=4, block_tokens=4))
    large, small = sequence(8, 8, "large"), sequence(1, 1, "small")
    for arriving in (large, sequence(8, 8, "too large for now"), small):
        of.add(arriving)
    send(of)
    assert [s.request_id for s in of.waiting] == ["too large for now", "small"]


def test_a_lost_engine_recomputes_from_prompt_and_returned_tokens():
    of = scheduler()
    of.add(sequence(prompt_tokens=4))
    send(of), send(of), answer(of, 50)
    of.open_epoch(engine_info(), boot_id=8, epoch=1)
    again = send(of).plan
    assert (again.boot_id, again.step) == (8, 1)
    assert again.chunks[0].token_ids == (0, 1, 2, 3, 50)
    assert again.chunks[0].sampling is not None
    assert again.chunks[0].sampling.first_draw == 1


def test_a_lost_engine_keeps_the_order_of_arrival():
    of = scheduler()
    for name in "abc":
        of.add(sequence(name=name))
    send(of)
    of.add(sequence(name="d"))
    of.open_epoch(engine_info(), boot_id=8, epoch=1)
    assert [s.request_id for s in of.waiting] == ["a", "b", "c", "d"]


def test_a_sequence_that_never_gets_further_is_ended():
    of = scheduler()
    of.add(sequence())
    for boot_id in range(3):
        send(of)
        of.open_epoch(engine_info(), boot_id, epoch=1)
    assert [s.outcome for s in of.end_hopeless()] == [Outcome.FAILED]
    assert of.plan(model(), LIMITS) is None


def test_what_fits_no_more_in_an_engine_that_came_back_smaller_is_ended():
    of = scheduler()
    large, small = sequence(40, 8, "large"), sequence(4, 4, "small")
    of.add(large)
    of.add(small)
    of.open_epoch(engine_info(blocks=4, block_tokens=4), boot_id=8, epoch=1)
    assert of.end_hopeless() == [large]
    assert send(of).allotments[0].sequence is small


def test_answers_out_of_order_are_a_mistake():
    of = scheduler()
    of.add(sequence())
    send(of)
    with pytest.raises(AssertionError):
        of.apply(StepResult(boot_id=7, epoch=1, step=2, sampled_ids=(1,)), 0.0)


def test_a_newcomer_finds_half_the_first_step_over():
    of = scheduler()
    of.add(sequence(prompt_tokens=10))
    first, second = send(of), send(of)
    assert of.load(0.0).in_flight_s == pytest.approx(first.predicted_s / 2 + second.predicted_s)
