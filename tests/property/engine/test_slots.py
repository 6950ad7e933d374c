"""Any sequence of plans, sensible or not: the table's books always balance."""

from hypothesis import given
from hypothesis import strategies as st

from services.engine.slots import SlotTable
from shared.step import Chunk, Sampling, StepPlan
from tests.unit.engine.builders import INFO, plan

GREEDY = Sampling(seed=0, temperature=0.0)
SLOTS = st.integers(-1, INFO.max_slots)

steps = st.builds(
    lambda chunks, released: (chunks, tuple(released)),
    st.lists(
        st.tuples(
            SLOTS,
            st.sampled_from(["first", "more", "decode"]),
            st.integers(1, 14),
            st.sampled_from([0, 0, 0, 0, 1, -1]),
            st.booleans(),
        ),
        max_size=4,
    ),
    st.lists(SLOTS, max_size=2),
)


class Books:
    """What the slots must hold, kept in the plainest way."""

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.sampled: set[int] = set()

    @property
    def blocks(self) -> int:
        return sum(-(-position // INFO.kv_block_tokens) for position in self.positions.values())

    def plan(self, chunks: list[tuple[int, str, int, int, bool]], released: tuple[int, ...]) -> StepPlan:
        made = []
        for slot, kind, num_tokens, position_error, sample in chunks:
            position = 0 if kind == "first" else self.positions.get(slot, 0)
            num_tokens = 1 if kind == "decode" else num_tokens  # noqa: PLW2901 - a decode is one token
            token_ids = None if kind == "decode" else (1,) * num_tokens
            sampling = GREEDY if kind == "first" else None
            made.append(Chunk(slot, position + position_error, num_tokens, token_ids, sample, sampling))
        return plan(*made, released=released)

    def apply(self, step: StepPlan) -> None:
        for slot in step.released_slots:
            del self.positions[slot]
            self.sampled.discard(slot)
        for chunk in step.chunks:
            assert (chunk.sampling is not None) == (chunk.slot not in self.positions)
            assert chunk.first_position == self.positions.get(chunk.slot, 0)
            assert chunk.token_ids is not None or chunk.slot in self.sampled
            self.positions[chunk.slot] = chunk.first_position + chunk.num_tokens
            (self.sampled.add if chunk.sample else self.sampled.discard)(chunk.slot)


@given(st.lists(steps, max_size=25))
def test_what_is_admitted_follows_and_fits_and_what_is_refused_changes_nothing(all_steps):
    table, books = SlotTable(INFO), Books()
    for chunks, released in all_steps:
        step = books.plan(chunks, released)
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
        step = books.plan(chunks, released)
        if table.check(step) is None:
            table.apply(step)
            books.apply(step)
    release_all = plan(released=tuple(books.positions))
    assert table.check(release_all) is None
    table.apply(release_all)
    assert table.blocks_used == 0
