"""The KV-block ledger: which sequence holds how much of the engine's cache."""


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
    """Blocks held per slot. A slot reserves at once all that its sequence can come to need, so that no step ever
    finds the cache full and nothing admitted has to be thrown out for room.
    """

    def __init__(self, total_blocks: int, block_tokens: int) -> None:
        self.total_blocks = total_blocks
        self.block_tokens = block_tokens
        self.free_blocks = total_blocks
        self._held_blocks: dict[int, int] = {}

    def blocks_for(self, tokens: int) -> int:
        """Blocks that this many tokens fill, the last perhaps in part."""
        return -(-tokens // self.block_tokens)

    def reserve(self, slot: int, tokens: int) -> None:
        """Take the blocks of a sequence that will come to hold this many tokens.

        Raises:
            KvFull: they are not free; nothing was taken.
        """
        assert slot not in self._held_blocks, f"slot {slot} holds blocks already"
        wanted_blocks = self.blocks_for(tokens)
        if wanted_blocks > self.free_blocks:
            raise KvFull(wanted_blocks, self.free_blocks)
        self._held_blocks[slot] = wanted_blocks
        self.free_blocks -= wanted_blocks

    def release(self, slot: int) -> None:
        """Give back what the slot holds."""
        self.free_blocks += self._held_blocks.pop(slot)
