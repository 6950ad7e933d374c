"""Any sequence of plans, sensible or not: the table's books always balance."""

from hypothesis import given
from hypothesis import strategies as st

from services.engine.slots import SlotTable
from shared.step import NO_SLOT, Chunk, Sampling, StepPlan
from tests.property.engine.books import Books
from tests.unit.engine.builders import INFO, plan

GREEDY = Sampling(seed=0, temperature=0.0)
SLOTS = st.integers(-1, INFO.max_slots)

chunks_meant = st.tuples(
    SLOTS,
    st.sampled_from(["first", "more", "decode", "copy"]),
    st.integers(1, 14),
    st.sampled_from([0, 0, 0, 0, 1, -1]),
    st.booleans(),
    SLOTS,
)
steps = st.tuples(st.lists(chunks_meant, max_size=4), st.lists(SLOTS, max_size=2).map(tuple))


def planned(books: Books, chunks: list[tuple[int, str, int, int, bool, int]], released: tuple[int, ...]) -> StepPlan:
    """The plan that is meant, where nothing makes it impossible."""
    made = []
    for slot, kind, num_tokens, position_error, sample, source in chunks:
        position = books.positions.get(slot, 0)
        if kind == "first":
            position = 0
        elif kind == "copy":
            position = books.positions.get(source, 0) // INFO.kv_block_tokens * INFO.kv_block_tokens
        num_tokens = 1 if kind == "decode" else num_tokens  # noqa: PLW2901 - a decode is one token
        token_ids = None if kind == "decode" else (1,) * num_tokens
        sampling = GREEDY if kind in ("first", "copy") else None
        prefix_slot = source if kind == "copy" else NO_SLOT
        made.append(Chunk(slot, position + position_error, num_tokens, token_ids, sample, sampling, prefix_slot))
    return plan(*made, released=released)


@given(st.lists(steps, max_size=25))
def test_what_is_admitted_follows_and_fits_and_what_is_refused_changes_nothing(all_steps):
    table, books = SlotTable(INFO), Books()
    for chunks, released in all_steps:
        step = planned(books, chunks, released)
        if table.check(step) is None:
            table.apply(step)
            books.apply(step)
            assert sum(chunk.num_tokens for chunk in step.chunks) <= INFO.max_step_tokens
            assert all(0 <= slot < INFO.max_slots for slot in books.positions)
            assert all(position <= INFO.max_context_tokens for position in books.positions.values())
        assert table.blocks_used == books.blocks <= INFO.kv_blocks_total
        for slot in sorted(books.sampled):
            room = books.blocks + (books.positions[slot] % INFO.kv_block_tokens == 0) <= INFO.kv_blocks_total
            fits = books.positions[slot] < INFO.max_context_tokens
            goes_on = table.check(plan(Chunk(slot, books.positions[slot], 1, None, sample=True))) is None
            assert goes_on == (room and fits)


@given(st.lists(steps, max_size=10))
def test_releasing_every_slot_gives_every_block_back(all_steps):
    table, books = SlotTable(INFO), Books()
    for chunks, released in all_steps:
        step = planned(books, chunks, released)
        if table.check(step) is None:
            table.apply(step)
            books.apply(step)
    release_all = plan(released=tuple(books.positions))
    assert table.check(release_all) is None
    table.apply(release_all)
    assert table.blocks_used == 0
