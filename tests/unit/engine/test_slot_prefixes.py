"""Sequences that begin with a copy of another's prefix: what is refused, and that shared blocks count once."""

import time

import msgspec
import pytest

from services.engine.slots import SlotTable
from shared.step import RefusalCode
from tests.unit.engine.builders import INFO, changed, copy, decode, first, more, plan
from tests.unit.engine.test_slots import refused, run


@pytest.fixture
def table() -> SlotTable:
    """Slot 0 has 10 tokens, slot 1 has 8: 5 blocks of 12 used, two whole ones by each."""
    table = SlotTable(INFO)
    run(table, plan(first(0, 10), first(1, 8)))
    return table


def test_a_copied_prefix_takes_no_room(table):
    run(table, plan(copy(2, 0, 8, num_tokens=5)))
    assert table.blocks_used == 5 + 2


def test_the_copy_goes_on_from_its_own_position(table):
    run(table, plan(copy(2, 0, 4)))
    run(table, plan(decode(2, 5), decode(0, 10)))
    assert refused(table, plan(decode(2, 11))) == RefusalCode.POSITION_MISMATCH


@pytest.mark.parametrize("order", [(0, 2, 3), (2, 3, 0), (3, 0, 2)])
def test_a_block_is_free_when_the_last_slot_that_holds_it_is_released(table, order):
    run(table, plan(copy(2, 0, 8), copy(3, 0, 4)))
    used = {frozenset({0, 2, 3}): 5, frozenset({2, 3}): 4, frozenset({0, 2}): 4, frozenset({0, 3}): 4}
    used |= {frozenset({0}): 3, frozenset({2}): 3, frozenset({3}): 2, frozenset(): 0}
    held = {0, 2, 3}
    for slot in order:
        run(table, plan(released=(slot,)))
        held.remove(slot)
        assert table.blocks_used == used[frozenset(held)] + 2


def test_slots_that_share_may_be_released_together(table):
    run(table, plan(copy(2, 0, 8), copy(3, 0, 4)))
    run(table, plan(released=(3, 0, 2)))
    assert table.blocks_used == 2


def test_a_copy_of_a_copy_shares_with_both(table):
    run(table, plan(copy(2, 0, 8, num_tokens=6)))
    run(table, plan(copy(3, 2, 12)))
    assert table.blocks_used == 5 + 2 + 1
    run(table, plan(released=(2,)))
    assert table.blocks_used == 5 + 1 + 1
    run(table, plan(released=(0,)))
    assert table.blocks_used == 2 + 4


def test_a_sequence_that_has_shared_can_be_copied_shorter_and_longer(table):
    run(table, plan(copy(2, 0, 8)))
    run(table, plan(released=(2,)))
    run(table, plan(copy(2, 0, 4), decode(0, 10)))
    run(table, plan(decode(0, 11)))
    run(table, plan(copy(3, 0, 12)))
    run(table, plan(released=(0,)))
    assert table.blocks_used == 2 + 2 + 3
    run(table, plan(released=(2, 3)))
    assert table.blocks_used == 2


def test_only_what_nobody_else_holds_counts_as_released_in_favour_of_a_plan(table):
    run(table, plan(copy(2, 0, 8, num_tokens=9), first(3, 16)))
    assert table.blocks_used == 12
    assert refused(table, plan(first(0, 8), released=(0,))) == RefusalCode.KV_FULL
    assert refused(table, plan(first(0, 4), released=(0,))) is None
    assert refused(table, plan(first(0, 24), released=(0, 2))) is None
    assert refused(table, plan(first(0, 25), released=(0, 2))) == RefusalCode.KV_FULL


def test_the_source_may_go_on_in_the_same_plan(table):
    run(table, plan(decode(0, 10), copy(2, 0, 8), decode(1, 8), copy(3, 1, 8)))
    assert table.blocks_used == 5 + 1 + 2


def test_clearing_forgets_what_was_shared(table):
    run(table, plan(copy(2, 0, 8)))
    table.clear()
    run(table, plan(first(0, 8)))
    run(table, plan(released=(0,)))
    assert table.blocks_used == 0


def test_an_executor_that_copies_none_says_so():
    table = SlotTable(msgspec.structs.replace(INFO, copies_prefixes=False))
    run(table, plan(first(0, 8)))
    assert refused(table, plan(copy(2, 0, 8))) == RefusalCode.UNSUPPORTED


def test_only_a_first_chunk_may_copy(table):
    assert refused(table, plan(changed(decode(0, 10), prefix_slot=1))) == RefusalCode.UNSUPPORTED
    assert refused(table, plan(changed(more(0, 10, 2), prefix_slot=1))) == RefusalCode.UNSUPPORTED


@pytest.mark.parametrize("position", [0, -4, 3, 5, 7, 12])
def test_only_whole_blocks_that_are_there_can_be_copied(table, position):
    assert refused(table, plan(copy(2, 0, position))) == RefusalCode.POSITION_MISMATCH


def test_what_the_source_gets_in_this_step_cannot_be_copied_yet(table):
    assert refused(table, plan(more(0, 10, 2), copy(2, 0, 12))) == RefusalCode.POSITION_MISMATCH
    assert refused(table, plan(first(2, 8), copy(3, 2, 4))) == RefusalCode.UNKNOWN_SLOT
    assert refused(table, plan(copy(2, 0, 8), copy(3, 2, 4))) == RefusalCode.UNKNOWN_SLOT


@pytest.mark.parametrize("source", [2, 3, 4, 300, -2])
def test_a_slot_that_holds_nothing_cannot_be_copied_not_even_one_s_own(table, source):
    assert refused(table, plan(copy(2, source, 4))) == RefusalCode.UNKNOWN_SLOT


def test_a_slot_that_the_plan_releases_cannot_be_copied(table):
    assert refused(table, plan(copy(2, 0, 4), released=(0,))) == RefusalCode.UNKNOWN_SLOT
    assert refused(table, plan(first(0, 8), copy(2, 0, 4), released=(0,))) == RefusalCode.UNKNOWN_SLOT
    assert refused(table, plan(copy(0, 0, 4), released=(0,))) == RefusalCode.UNKNOWN_SLOT


def test_a_copy_is_a_first_chunk_in_all_else(table):
    assert refused(table, plan(copy(1, 0, 4))) == RefusalCode.SLOT_IN_USE
    assert refused(table, plan(copy(4, 0, 4))) == RefusalCode.SLOT_OUT_OF_RANGE
    assert refused(table, plan(changed(copy(2, 0, 4), token_ids=None))) == RefusalCode.NO_SAMPLED_TOKEN
    assert refused(table, plan(copy(2, 0, 8, num_tokens=33))) == RefusalCode.TOO_MANY_TOKENS
    run(table, plan(more(0, 10, 22)))
    assert refused(table, plan(copy(2, 0, 32, num_tokens=9))) == RefusalCode.CONTEXT_EXCEEDED
    assert refused(table, plan(copy(2, 0, 32, num_tokens=8))) is None


def test_a_conversation_of_many_turns_each_a_copy_of_the_last_stays_cheap():
    turns = 500
    info = msgspec.structs.replace(INFO, max_context_tokens=4 * turns + 4, kv_blocks_total=turns + 1)
    table = SlotTable(info)
    run(table, plan(first(0, 4)))
    started_s = time.process_time()
    for turn in range(1, turns):
        run(table, plan(copy(turn % 2, (turn + 1) % 2, 4 * turn, num_tokens=4)))
        run(table, plan(released=((turn + 1) % 2,)))
        assert table.blocks_used == turn + 1
    assert (time.process_time() - started_s) / turns < 1e-3
    run(table, plan(released=((turns - 1) % 2,)))
    assert table.blocks_used == 0
