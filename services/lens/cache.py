"""The engine's KV cache as lens keeps book of it: slots, their blocks, and the text that is in them. Pure.

A slot whose sequence has left is kept where text can be copied: the next request of the same conversation, or behind the same
instructions, begins with what they have in common. It is released when its slot or blocks are wanted, whoever was kept longest first.
"""

from collections import deque
from collections.abc import Container

from services.lens.blocks import BlockLedger
from services.lens.plan import Room
from services.lens.prefixes import Prefix, PrefixTree
from services.lens.sequence import Sequence
from services.lens.text_blocks import TextBlocks
from shared.step import NO_SLOT, EngineInfo


class Cache:
    """Of one epoch; it begins empty."""

    def __init__(self, info: EngineInfo) -> None:
        self._free_slots = deque(range(info.max_slots))
        self._kept: dict[int, None] = {}
        """Slots, whoever was kept longest first."""
        self._copied: set[int] = set()
        """From which the next step copies: the engine cannot release them in that step."""
        self._to_release: list[int] = []
        self._ledger = BlockLedger(info.kv_blocks_total, info.kv_block_tokens)
        self._tree = PrefixTree(info.kv_block_tokens) if info.copies_prefixes else None
        self.text_blocks = TextBlocks()
        """Whose text can be copied; none where nothing can."""
        self.has_forgotten = False
        """Whether text that somebody who waits may have expected is gone."""

    @property
    def free_slots(self) -> int:
        """Slots for newcomers."""
        return len(self._free_slots) + len(self._kept)

    @property
    def free_blocks(self) -> int:
        """Blocks that no sequence in the engine holds."""
        return self._ledger.obtainable_blocks

    def room(self, headroom_blocks: int) -> Room:
        """What there is for newcomers, so many blocks being kept for those that are there."""
        return Room(self.free_slots, self.free_blocks - headroom_blocks, self._ledger.block_tokens)

    def blocks_of(self, sequence: Sequence) -> int:
        """Blocks that a sequence in the engine holds, some of them perhaps with others."""
        return self._ledger.held_blocks(sequence.slot)

    def could_hold(self, tokens: int) -> bool:
        """Whether a sequence of so many tokens fits, if it is alone."""
        return self._ledger.blocks_for(tokens) <= self._ledger.total_blocks

    def look_for_prefix(self, sequence: Sequence) -> None:
        """Tell one that waits what it would copy if it joined now."""
        if self._tree is not None:
            sequence.expect(self._tree.longest(sequence.tenant, sequence.prefill_ids, sequence.prefix))

    def admit(self, sequence: Sequence) -> bool:
        """Give a newcomer a slot and blocks, and the prefix that is there.

        Returns:
            False where slots that others are about to copy from stand in the way.
        """
        self.look_for_prefix(sequence)
        return self._admit(sequence, sequence.prefix) or self._admit(sequence, None)

    def _admit(self, sequence: Sequence, prefix: Prefix | None) -> bool:
        source, prefix_tokens = (NO_SLOT, 0) if prefix is None else (prefix.slot, prefix.num_tokens)
        blocks_for, wanted_tokens = self._ledger.blocks_for, sequence.tokens_to_join
        needed = self._copied | {source}
        if not self._make_free(blocks_for(wanted_tokens) - blocks_for(prefix_tokens), slots=1, needed=needed):
            return False
        if prefix is not None:
            self._copied.add(source)
        if source in self._kept:
            self._kept[source] = self._kept.pop(source)  # the latest to be wanted is the last to go
        slot = self._free_slots.popleft()
        self._ledger.hold(slot, wanted_tokens, prefix_slot=source, prefix_tokens=prefix_tokens)
        sequence.join(slot, source, prefix_tokens)
        self._note_room(sequence)
        return True

    def grow(self, sequence: Sequence) -> None:
        """Take a block for the next token of a sequence that has none for it; there is one, or that is a mistake."""
        self._make_free(1, slots=0, needed=self._copied)
        self._ledger.grow(sequence.slot, sequence.cached_tokens + 1)
        self._note_room(sequence)

    def note_sent(self, sequence: Sequence) -> None:
        """What has been sent of its prompt can be copied from the next step on."""
        if self._tree is not None:
            self._tree.extend(sequence.slot, sequence.tenant, sequence.prefill_ids, sequence.cached_tokens)
            if not sequence.prefill_tokens_left:
                self.text_blocks.hold(sequence.slot, sequence.text_blocks)

    def leave(self, sequence: Sequence) -> None:
        """A sequence leaves; what it has computed can be copied for as long as nobody wants the room."""
        slot = sequence.slot
        if self._tree is None:
            self._release(slot)
            return
        token_ids = (*sequence.prompt_ids, *sequence.output_ids)
        self._tree.extend(slot, sequence.tenant, token_ids, sequence.cached_tokens)
        self._ledger.keep(slot)
        self._kept[slot] = None

    def take_released(self) -> tuple[int, ...]:
        """The slots that the step about to be sent releases."""
        released = tuple(self._to_release)
        self._to_release.clear()
        self._copied.clear()
        return released

    def _make_free(self, blocks: int, *, slots: int, needed: Container[int]) -> bool:
        """Release kept slots, but those that are needed, until so much is free; whether it is."""
        for slot in list(self._kept):
            if len(self._free_slots) >= slots and self._ledger.free_blocks >= blocks:
                break
            if slot not in needed:
                del self._kept[slot]
                self._release(slot)
        return len(self._free_slots) >= slots and self._ledger.free_blocks >= blocks

    def _release(self, slot: int) -> None:
        self._ledger.release(slot)
        if self._tree is not None:
            self._tree.forget(slot)
            self.text_blocks.release(slot)
            self.has_forgotten = True
        self._free_slots.append(slot)
        self._to_release.append(slot)

    def _note_room(self, sequence: Sequence) -> None:
        sequence.room_tokens = self._ledger.held_blocks(sequence.slot) * self._ledger.block_tokens
