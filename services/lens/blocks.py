"""The KV-block ledger: which sequence holds how much of the engine's cache."""

from collections import Counter

from shared.step import NO_SLOT


class KvFull(Exception):
    """The cache has no room for what was asked.

    Attributes:
        wanted_blocks: blocks that were asked for.
        free_blocks: blocks that are free.
    """

    def __init__(self, wanted_blocks: int, free_blocks: int) -> None:
        super().__init__(f"{wanted_blocks} KV blocks wanted, {free_blocks} free")
        self.wanted_blocks = wanted_blocks
        self.free_blocks = free_blocks


class BlockLedger:
    """Blocks held per slot. Slots with a prefix in common may hold the same blocks; each counts once, for as long as anyone
    holds it. A slot whose sequence has left may be kept for its prefix: what only such slots hold can be had by releasing them.
    """

    def __init__(self, total_blocks: int, block_tokens: int) -> None:
        self.total_blocks = total_blocks
        self.block_tokens = block_tokens
        self._held: dict[int, list[int]] = {}
        self._kept: set[int] = set()
        self._holders: Counter[int] = Counter()
        """Slots, by block."""
        self._live_holders: Counter[int] = Counter()
        """Of these, those that are not merely kept."""
        self._next_block = 0

    @property
    def free_blocks(self) -> int:
        """Blocks that no slot holds."""
        return self.total_blocks - len(self._holders)

    @property
    def obtainable_blocks(self) -> int:
        """Blocks that are free, or would be if every kept slot was released."""
        return self.total_blocks - len(self._live_holders)

    def blocks_for(self, tokens: int) -> int:
        """Blocks that this many tokens fill, the last perhaps in part."""
        return -(-tokens // self.block_tokens)

    def held_blocks(self, slot: int) -> int:
        """Blocks that the slot holds, some of them perhaps with others."""
        return len(self._held[slot])

    def hold(self, slot: int, tokens: int, *, prefix_slot: int = NO_SLOT, prefix_tokens: int = 0) -> None:
        """Take the blocks for so many tokens of a sequence that comes.

        Args:
            prefix_slot: whose first `prefix_tokens` tokens it shares: a whole number of blocks.

        Raises:
            KvFull: they are not free; nothing was taken.
        """
        assert slot not in self._held, f"slot {slot} holds blocks already"
        shared = self._held[prefix_slot][: prefix_tokens // self.block_tokens] if prefix_tokens else []
        self._check_free(self.blocks_for(tokens) - len(shared))
        self._held[slot] = shared
        self._holders.update(shared)
        self._live_holders.update(shared)
        self.grow(slot, tokens)

    def grow(self, slot: int, tokens: int) -> None:
        """Take what a slot lacks to hold this many tokens.

        Raises:
            KvFull: that is not free; nothing was taken.
        """
        held = self._held[slot]
        lacking = self.blocks_for(tokens) - len(held)
        self._check_free(lacking)
        for block in range(self._next_block, self._next_block + lacking):
            self._holders[block] = self._live_holders[block] = 1
            held.append(block)
        self._next_block += max(lacking, 0)

    def keep(self, slot: int) -> None:
        """The slot's sequence has left, but its blocks stay until the slot is released."""
        self._kept.add(slot)
        _let_go(self._live_holders, self._held[slot])

    def release(self, slot: int) -> None:
        """Give back what the slot holds."""
        held = self._held.pop(slot)
        _let_go(self._holders, held)
        if slot in self._kept:
            self._kept.remove(slot)
        else:
            _let_go(self._live_holders, held)

    def _check_free(self, wanted_blocks: int) -> None:
        if wanted_blocks > self.free_blocks:
            raise KvFull(wanted_blocks, self.free_blocks)


def _let_go(holders: Counter[int], blocks: list[int]) -> None:
    for block in blocks:
        if holders[block] == 1:
            del holders[block]
        else:
            holders[block] -= 1
