"""What a plan is refused for, by name, and what a plan that runs leaves behind."""

import math
import time

import msgspec
import pytest

from services.engine.slots import SlotTable
from shared.step import Chunk, RefusalCode, Sampling, StepPlan
from tests.unit.engine.builders import INFO, changed, decode, first, more, plan


@pytest.fixture
def table() -> SlotTable:
    """Slot 0 has 6 tokens and a sampled one, slot 1 has 8 tokens and none: 4 blocks of 12 used."""
    table = SlotTable(INFO)
    run(table, plan(first(0, 6), first(1, 8, sample=False)))
    return table


def run(table: SlotTable, step: StepPlan) -> None:
    assert table.check(step) is None
    table.apply(step)


def refused(table: SlotTable, step: StepPlan) -> RefusalCode | None:
    refusal = table.check(step)
    return None if refusal is None else refusal.code


def test_blocks_are_counted_in_whole_blocks(table):
    assert table.blocks_used == 4
    run(table, plan(decode(0, 6), more(1, 8, 1)))
    assert table.blocks_used == 5


def test_a_released_slot_gives_its_blocks_back_and_can_begin_anew_in_the_same_plan(table):
    run(table, plan(first(0, 1), released=(0,)))
    assert table.blocks_used == 3
    run(table, plan(released=(0, 1)))
    assert table.blocks_used == 0


def test_clearing_releases_everything(table):
    table.clear()
    assert table.blocks_used == 0
    assert table.check(plan(first(0, 32))) is None


@pytest.mark.parametrize("slot", [-1, 2, 4])
def test_releasing_a_slot_that_holds_nothing_is_refused(table, slot):
    assert refused(table, plan(released=(slot,))) == RefusalCode.UNKNOWN_SLOT


def test_releasing_a_slot_twice_is_refused(table):
    assert refused(table, plan(released=(0, 0))) == RefusalCode.DUPLICATE_SLOT


def test_two_chunks_of_one_slot_are_refused(table):
    assert refused(table, plan(decode(0, 6), decode(0, 7))) == RefusalCode.DUPLICATE_SLOT


@pytest.mark.parametrize("slot", [-1, 4, 300])
def test_a_slot_out_of_range_is_refused(table, slot):
    assert refused(table, plan(first(slot, 1))) == RefusalCode.SLOT_OUT_OF_RANGE
    assert refused(table, plan(decode(slot, 1))) == RefusalCode.SLOT_OUT_OF_RANGE


@pytest.mark.parametrize("num_tokens", [0, -3])
def test_a_chunk_of_no_tokens_is_refused(table, num_tokens):
    empty = changed(more(0, 6, 1), num_tokens=num_tokens, token_ids=())
    assert refused(table, plan(empty)) == RefusalCode.MALFORMED


def test_a_slot_in_use_cannot_begin_anew(table):
    assert refused(table, plan(first(0, 1))) == RefusalCode.SLOT_IN_USE


def test_a_slot_that_holds_nothing_cannot_go_on(table):
    assert refused(table, plan(more(2, 0, 1))) == RefusalCode.UNKNOWN_SLOT
    assert refused(table, plan(decode(0, 6), released=(0,))) == RefusalCode.UNKNOWN_SLOT


@pytest.mark.parametrize("position", [0, 5, 7])
def test_a_gap_or_a_repeat_in_positions_is_refused(table, position):
    assert refused(table, plan(decode(0, position))) == RefusalCode.POSITION_MISMATCH


def test_a_first_chunk_must_begin_at_0(table):
    assert refused(table, plan(changed(first(2, 1), first_position=3))) == RefusalCode.POSITION_MISMATCH


def test_a_decode_needs_a_token_that_was_sampled(table):
    assert refused(table, plan(decode(1, 8))) == RefusalCode.NO_SAMPLED_TOKEN
    assert refused(table, plan(changed(first(2, 1), token_ids=None))) == RefusalCode.NO_SAMPLED_TOKEN


def test_a_decode_may_bring_its_token_itself(table):
    assert table.check(plan(more(1, 8, 1))) is None


def test_more_tokens_than_a_step_can_run_are_refused(table):
    assert refused(table, plan(first(2, 33))) == RefusalCode.TOO_MANY_TOKENS
    assert refused(table, plan(first(2, 16), first(3, 17))) == RefusalCode.TOO_MANY_TOKENS


def test_a_sequence_longer_than_the_context_is_refused():
    table = SlotTable(INFO)
    run(table, plan(first(0, 32)))
    run(table, plan(more(0, 32, 8)))
    assert refused(table, plan(decode(0, 40))) == RefusalCode.CONTEXT_EXCEEDED


@pytest.mark.parametrize("token_id", [-1, 100, 2**31 - 1])
def test_a_token_outside_the_vocabulary_is_refused(table, token_id):
    chunk = changed(more(1, 8, 2), token_ids=(1, token_id))
    assert refused(table, plan(chunk)) == RefusalCode.BAD_TOKEN


def test_a_plan_that_does_not_fit_in_the_cache_is_refused_unless_it_releases_enough(table):
    too_much = (first(2, 16), first(3, 16), decode(0, 6))
    assert refused(table, plan(first(2, 16), first(3, 16))) is None
    run(table, plan(first(2, 16), first(3, 16)))
    assert refused(table, plan(more(1, 8, 1))) == RefusalCode.KV_FULL
    assert refused(table, plan(*too_much)) == RefusalCode.TOO_MANY_TOKENS
    assert refused(table, plan(more(1, 8, 1), released=(0,))) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_p", math.nan),
        ("top_k", -1),
        ("first_draw", -1),
        ("min_p", 0.1),
        ("repetition_penalty", 1.1),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("num_logprobs", 1),
    ],
)
def test_sampling_that_cannot_be_done_is_refused_and_named(table, field, value):
    sampling = Sampling(**{"seed": 0, field: value})
    refusal = table.check(plan(first(2, 1, sampling=sampling)))
    assert refusal is not None
    assert refusal.code == RefusalCode.UNSUPPORTED
    assert field in refusal.message


def test_a_plan_of_256_sequences_is_checked_in_well_under_a_millisecond():
    size = 256
    info = msgspec.structs.replace(INFO, max_slots=size, max_step_tokens=size * 4, kv_blocks_total=size * 2)
    table = SlotTable(info)
    run(table, plan(*(first(slot, 4) for slot in range(size))))
    step = plan(*(Chunk(slot, 4, 1, None, sample=True) for slot in range(size)))

    def check_s() -> float:
        started_s = time.perf_counter()
        assert table.check(step) is None
        return time.perf_counter() - started_s

    assert min(check_s() for _ in range(20)) < 1e-3
