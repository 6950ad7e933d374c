"""Which KV blocks slots have in common: a copied prefix is stored once, and is free when the last slot lets it go."""

from collections import Counter
from collections.abc import Iterable

import msgspec


class Prefix(msgspec.Struct, eq=False):
    """Blocks that several sequences begin with, or did: those of its parent, then its own.

    Prefixes form trees that branch where sequences part.
    """

    num_blocks: int
    """From position 0 on, its parent's included."""
    parent: "Prefix | None"
    holders: int = 1
    """How many slots, and how many longer prefixes, hold it directly."""

    @property
    def own_blocks(self) -> int:
        """Blocks that it has beyond its parent's."""
        return self.num_blocks - (self.parent.num_blocks if self.parent is not None else 0)

    def share(self, num_blocks: int) -> "Prefix":
        """Its beginning of that length, at most its own, held once more."""
        prefix = self
        while prefix.parent is not None and prefix.parent.num_blocks >= num_blocks:
            prefix = prefix.parent
        if prefix.num_blocks > num_blocks:
            prefix.parent = Prefix(num_blocks, prefix.parent)
            prefix = prefix.parent
        prefix.holders += 1
        return prefix

    def release(self) -> int:
        """Let go of it once; returns how many blocks are free by that."""
        freed = 0
        prefix: Prefix | None = self
        while prefix is not None:
            prefix.holders -= 1
            if prefix.holders > 0:
                break
            freed += prefix.own_blocks
            prefix = prefix.parent
        return freed


def count_released(prefixes: Iterable[Prefix]) -> int:
    """How many blocks would be free if each of these, one for a slot, were released; changes nothing."""
    released: Counter[Prefix] = Counter()
    freed = 0
    for held in prefixes:
        prefix: Prefix | None = held
        while prefix is not None:
            released[prefix] += 1
            if released[prefix] < prefix.holders:
                break
            freed += prefix.own_blocks
            prefix = prefix.parent
    return freed
