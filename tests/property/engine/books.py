"""What the slots must hold, kept in the plainest way: every block by itself."""

from itertools import count

from shared.step import NO_SLOT, StepPlan
from tests.unit.engine.builders import INFO


class Books:
    """Positions, blocks and sampled tokens of every slot."""

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.sampled: set[int] = set()
        self._block_ids: dict[int, list[int]] = {}
        self._new_block_ids = count()

    @property
    def blocks(self) -> int:
        return len({block_id for held in self._block_ids.values() for block_id in held})

    def whole_blocks(self, slot: int) -> int:
        return self.positions[slot] // INFO.kv_block_tokens

    def apply(self, step: StepPlan) -> None:
        """Count the plan as run; it must keep the contract."""
        before = dict(self.positions)
        for slot in step.released_slots:
            del self.positions[slot], self._block_ids[slot]
            self.sampled.discard(slot)
        for chunk in step.chunks:
            assert (chunk.sampling is not None) == (chunk.slot not in self.positions)
            assert chunk.token_ids is not None or chunk.slot in self.sampled
            if chunk.sampling is not None:
                self._block_ids[chunk.slot] = []
            if chunk.prefix_slot == NO_SLOT:
                assert chunk.first_position == self.positions.get(chunk.slot, 0)
            else:
                num_blocks, rest = divmod(chunk.first_position, INFO.kv_block_tokens)
                assert chunk.sampling is not None
                assert num_blocks > 0 == rest
                assert chunk.first_position <= before[chunk.prefix_slot]
                assert chunk.prefix_slot not in (chunk.slot, *step.released_slots)
                self._block_ids[chunk.slot] = self._block_ids[chunk.prefix_slot][:num_blocks]
            self._extend(chunk.slot, chunk.first_position + chunk.num_tokens)
            (self.sampled.add if chunk.sample else self.sampled.discard)(chunk.slot)

    def _extend(self, slot: int, position: int) -> None:
        self.positions[slot] = position
        while len(self._block_ids[slot]) * INFO.kv_block_tokens < position:
            self._block_ids[slot].append(next(self._new_block_ids))
