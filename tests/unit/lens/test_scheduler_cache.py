"""What the scheduler does with the engine's cache: blocks on demand, room made by recomputing, prefixes copied."""

import msgspec
import pytest

from services.lens.plan import PlanLimits
from services.lens.scheduler import Scheduler, SentStep
from services.lens.sequence import Sequence
from shared.slo import Slo
from shared.step import NO_SLOT, NO_TOKEN, EngineInfo, StepResult
from shared.telemetry import Outcome
from tests.unit.lens.builders import END_ID, engine_info, model, sequence

LIMITS = PlanLimits(max_step_tokens=32, least_prefill_tokens=4, target_s=1.0)
SHORT_OF_ROOM = engine_info(slots=4, blocks=8, block_tokens=4)


@pytest.fixture(autouse=True)
def _no_room_in_advance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.lens.sequence.RESERVED_OUTPUT_TOKENS", 1)


def copying(info: EngineInfo) -> Scheduler:
    return Scheduler(msgspec.structs.replace(info, copies_prefixes=True), boot_id=7, epoch=1)


def step(of: Scheduler, token_id: int = 5) -> SentStep:
    """Send a step and have it answered."""
    sent = of.plan(model(), LIMITS)
    assert sent is not None
    sampled = tuple(token_id if chunk.sample else NO_TOKEN for chunk in sent.plan.chunks)
    of.apply(StepResult(boot_id=7, epoch=1, step=sent.plan.step, sampled_ids=sampled), 0.0)
    return sent


def asked(name: str, prompt_tokens: int, answer_tokens: int, tpot_s: float = 0.1, tenant: str = "") -> Sequence:
    made = sequence(prompt_tokens, answer_tokens, name, slo=Slo(ttft_s=1.0, tpot_s=tpot_s))
    made.tenant = tenant
    return made


def test_an_answer_takes_blocks_as_it_grows():
    of = Scheduler(SHORT_OF_ROOM, boot_id=7, epoch=1)
    of.add(asked("a", 4, 20))
    free_blocks = [step(of) and of.load(0.0).kv_blocks_free for _ in range(9)]
    assert free_blocks == [6, 6, 6, 6, 6, 5, 5, 5, 5]


def test_where_the_cache_is_full_the_answer_due_last_leaves_and_is_recomputed_when_there_is_room():
    of = Scheduler(SHORT_OF_ROOM, boot_id=7, epoch=1)
    early, late = asked("early", 8, 16, tpot_s=0.1), asked("late", 8, 16, tpot_s=0.2)
    of.add(early)
    of.add(late)
    while late.slot != NO_SLOT or not late.output_ids:
        step(of)
    assert (early.slot, list(of.waiting)) == (0, [late])
    returned = len(late.output_ids)
    assert late.prefill_tokens_left == 8 + returned
    while early.outcome is None:
        step(of)
    while late.outcome is None:
        step(of)
    assert (len(early.output_ids), len(late.output_ids)) == (16, 16)
    assert late.recomputes_since_token == 0


def test_a_prompt_that_begins_like_one_in_the_engine_copies_whole_blocks_of_it():
    of = copying(engine_info(slots=4, blocks=64, block_tokens=4))
    of.add(asked("first", 10, 8))
    step(of)
    of.add(asked("second", 11, 8))
    (chunk,) = [chunk for chunk in step(of).plan.chunks if chunk.sampling is not None]
    assert (chunk.prefix_slot, chunk.first_position, chunk.num_tokens) == (0, 8, 3)
    assert of.load(0.0).kv_blocks_free == 64 - 3 - 1


def test_two_that_come_at_once_do_not_copy_what_is_not_there_yet():
    of = copying(engine_info())
    of.add(asked("first", 10, 8))
    of.add(asked("second", 10, 8))
    assert [chunk.prefix_slot for chunk in step(of).plan.chunks] == [NO_SLOT, NO_SLOT]


def test_the_next_turn_of_a_conversation_copies_the_last_one_with_its_answer():
    of = copying(engine_info(slots=4, blocks=64, block_tokens=4))
    first = asked("first", 6, 8)
    of.add(first)
    step(of), step(of), step(of, END_ID)
    assert first.outcome is Outcome.STOP
    following = asked("second", 6, 8)
    following.prompt_ids = following.prefill_ids = (*first.prompt_ids, 5, 5, END_ID, 7, 7)
    of.add(following)
    assert following.prefill_tokens_left == 3
    (chunk,) = step(of).plan.chunks
    assert (chunk.prefix_slot, chunk.first_position, chunk.token_ids) == (0, 8, (END_ID, 7, 7))


def test_what_is_kept_is_given_up_as_soon_as_its_room_is_wanted():
    of = copying(engine_info(slots=2, blocks=8, block_tokens=4))
    of.add(asked("first", 16, 1))
    step(of)
    assert of.load(0.0).kv_blocks_free == 8
    other = asked("other", 4, 1)
    other.prompt_ids = other.prefill_ids = tuple(range(50, 78))
    of.add(other)
    plan = step(of).plan
    assert (plan.released_slots, plan.chunks[0].prefix_slot, plan.chunks[0].num_tokens) == ((0,), NO_SLOT, 28)


def test_a_prefix_is_not_copied_where_there_is_room_for_the_newcomer_only_without_it():
    of = copying(engine_info(slots=2, blocks=8, block_tokens=4))
    of.add(asked("first", 24, 1))
    step(of)
    second = asked("second", 4, 1)
    second.prompt_ids = second.prefill_ids = (*range(4), *range(50, 74))
    of.add(second)
    plan = step(of).plan
    assert (plan.released_slots, plan.chunks[0].prefix_slot, plan.chunks[0].num_tokens) == ((0,), NO_SLOT, 24)


def test_tenants_share_no_text():
    of = copying(engine_info())
    of.add(asked("first", 10, 8, tenant="a"))
    step(of)
    of.add(asked("second", 10, 8, tenant="b"))
    assert all(chunk.prefix_slot == NO_SLOT for chunk in step(of).plan.chunks)


def test_an_engine_that_cannot_copy_is_never_asked_to():
    of = Scheduler(engine_info(), boot_id=7, epoch=1)
    of.add(asked("first", 10, 1))
    step(of)
    of.add(asked("second", 10, 8))
    plan = step(of).plan
    assert (plan.released_slots, plan.chunks[0].prefix_slot) == ((0,), NO_SLOT)


def test_who_waits_is_reckoned_with_what_another_prompt_has_brought_into_the_cache():
    of = copying(engine_info(slots=4, blocks=64, block_tokens=4))
    of.add(asked("first", 20, 8))
    second = asked("second", 20, 8)
    step(of)
    of.add(second)
    assert second.prefill_tokens_left == 4


def test_a_prompts_text_is_told_of_from_when_all_of_it_is_sent_until_its_slot_is_wanted():
    of = copying(engine_info(slots=2, blocks=16, block_tokens=4))
    first = asked("first", 40, 1)
    first.text_blocks = ("a", "b")
    of.add(first)
    step(of)
    assert (first.prefill_tokens_left, set(of.text_blocks.held)) == (8, set())
    step(of)
    assert (first.outcome, set(of.text_blocks.held)) == (Outcome.LENGTH, {"a", "b"})
    other = asked("other", 4, 1)
    other.prompt_ids = other.prefill_ids = tuple(range(50, 110))
    of.add(other)
    step(of)
    assert (set(of.text_blocks.held), of.text_blocks.changes[-2:]) == (set(), ("-b", "-a"))


def test_a_new_epoch_begins_without_text_and_under_another_name():
    of = copying(engine_info())
    first = asked("first", 10, 1)
    first.text_blocks = ("a",)
    of.add(first)
    step(of)
    before = of.prefix_epoch
    of.open_epoch(of.info, boot_id=7, epoch=2)
    assert (before != of.prefix_epoch, set(of.text_blocks.held), of.text_blocks.serial) == (True, set(), 0)


def test_an_engine_that_cannot_copy_tells_of_no_text():
    of = Scheduler(engine_info(), boot_id=7, epoch=1)
    first = asked("first", 10, 1)
    first.text_blocks = ("a",)
    of.add(first)
    step(of)
    assert (of.prefix_epoch, set(of.text_blocks.held)) == ("", set())
