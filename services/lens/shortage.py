"""Who makes room when the cache is full, and who waits for it. Pure."""

from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet

from services.lens.sequence import Sequence


def who_leaves(
    live: Collection[Sequence], short: AbstractSet[Sequence], *, room_blocks: int, blocks_of: Callable[[Sequence], int]
) -> list[Sequence]:
    """Those that have to be recomputed later so that the others of `short` can have a block each.

    Of the lowest priority, those first that have missed their target already, then whoever has most time left, since it loses
    least; never the one with the best claim, so that somebody always gets on, and no two throw each other out for ever.

    Args:
        live: that run.
        room_blocks: that are free, or will be when those have left that end, or are leaving already.
    """
    wanted_blocks, leaving = len(short), []
    for sequence in sorted(live, key=_claim, reverse=True)[:-1]:
        if wanted_blocks <= room_blocks:
            break
        leaving.append(sequence)
        wanted_blocks -= sequence in short
        room_blocks += blocks_of(sequence)
    return leaving


def who_pauses(short: Collection[Sequence], *, free_blocks: int) -> set[Sequence]:
    """Those for whose next token there is no block yet."""
    return set(sorted(short, key=_claim)[free_blocks:])


def _claim(sequence: Sequence) -> tuple[int, bool, float]:
    """The least has the best claim to what there is."""
    return -sequence.priority, sequence.is_lost, sequence.due_s
