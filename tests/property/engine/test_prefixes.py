"""Sensible plans full of copied prefixes: nothing but blocks is ever wanting, and shared blocks add up until all are free."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.engine.slots import SlotTable
from shared.step import NO_SLOT, Chunk, RefusalCode, StepPlan
from tests.property.engine.books import Books
from tests.unit.engine.builders import INFO, copy, decode, first, plan

CACHE = msgspec.structs.replace(INFO, max_slots=6, max_step_tokens=100, max_context_tokens=100)
"""Nothing of it can be exceeded but its blocks."""

acts = st.tuples(st.sampled_from(["begin", "copy", "copy", "decode"]), st.integers(0, 99), st.integers(0, 99))
steps = st.tuples(st.lists(acts, min_size=2, max_size=6), st.lists(st.integers(0, 99), max_size=1))
histories = st.lists(steps, min_size=3, max_size=30)
leavings = st.lists(st.integers(0, 99), max_size=4)


def sensible(books: Books, acts_meant: list[tuple[str, int, int]], leaving: list[int]) -> StepPlan:
    """A plan that keeps every rule, unless blocks are wanting: slots are picked among those that can do what is meant."""
    held = sorted(books.positions)
    released = {held[pick % len(held)] for pick in leaving if held}
    staying = [slot for slot in held if slot not in released]
    free = [slot for slot in range(CACHE.max_slots) if slot not in staying]
    sources = [slot for slot in staying if books.whole_blocks(slot)]
    decoding = staying[:]
    chunks: list[Chunk] = []
    for act, pick, size in acts_meant:
        if act == "begin" and free:
            chunks.append(first(free.pop(), 1 + size % 14))
        elif act == "copy" and free and sources:
            source = sources[pick % len(sources)]
            num_blocks = 1 + size % books.whole_blocks(source)
            chunks.append(copy(free.pop(), source, num_blocks * INFO.kv_block_tokens, 1 + size % 9))
        elif act == "decode" and decoding:
            slot = decoding.pop(pick % len(decoding))
            chunks.append(decode(slot, books.positions[slot]))
    return plan(*chunks, released=tuple(sorted(released)))


def after(all_steps: list[tuple[list[tuple[str, int, int]], list[int]]]) -> tuple[SlotTable, Books]:
    """What is held after sensible plans; those for which there was no room have been refused."""
    table, books = SlotTable(CACHE), Books()
    for acts_meant, leaving in all_steps:
        step = sensible(books, acts_meant, leaving)
        refusal = table.check(step)
        if refusal is None:
            table.apply(step)
            books.apply(step)
        else:
            assert refusal.code == RefusalCode.KV_FULL
        assert table.blocks_used == books.blocks <= CACHE.kv_blocks_total
    return table, books


@given(histories)
def test_shared_blocks_add_up_whoever_copies_and_leaves_and_all_are_free_in_the_end(all_steps):
    table, books = after(all_steps)
    while books.positions:
        leave = plan(released=(max(books.positions),))
        table.apply(leave)
        books.apply(leave)
        assert table.blocks_used == books.blocks
    assert table.blocks_used == 0


@given(histories, leavings)
def test_a_plan_fits_exactly_if_what_it_releases_and_nobody_else_holds_makes_room(all_steps, leaving):
    table, books = after(all_steps)
    leave = sensible(books, [], leaving)
    books.apply(leave)
    free_tokens = (CACHE.kv_blocks_total - books.blocks) * CACHE.kv_block_tokens
    for slot in set(range(CACHE.max_slots)) - books.positions.keys():
        if free_tokens:
            assert table.check(plan(first(slot, free_tokens), released=leave.released_slots)) is None
        too_much = table.check(plan(first(slot, free_tokens + 1), released=leave.released_slots))
        assert too_much is not None
        assert too_much.code == RefusalCode.KV_FULL


@given(
    histories,
    leavings,
    st.integers(-2, CACHE.max_slots).filter(lambda slot: slot != NO_SLOT),
    st.integers(-1, 8),
    st.sampled_from([0, 0, 0, 1, -1]),
)
def test_a_prefix_is_copied_exactly_if_its_slot_has_those_whole_blocks_and_keeps_them(
    all_steps, leaving, source, num_blocks, error_tokens
):
    table, books = after(all_steps)
    leave = sensible(books, [], leaving)
    position = num_blocks * CACHE.kv_block_tokens + error_tokens
    held = 0 if source in leave.released_slots else books.positions.get(source, 0)
    possible = 0 < position <= held and error_tokens == 0
    for slot in set(range(CACHE.max_slots)) - (books.positions.keys() - set(leave.released_slots)):
        refusal = table.check(plan(copy(slot, source, position), released=leave.released_slots))
        code = None if refusal is None else refusal.code
        if possible:
            assert code in (None, RefusalCode.KV_FULL)
        else:
            assert code == (RefusalCode.POSITION_MISMATCH if held else RefusalCode.UNKNOWN_SLOT)
