"""Which prompts' text is in the engine's cache, as routers are told of it: blocks by name, and the latest changes. Pure.

The cache copies by tokens (`prefixes`); routers have no tokenizer, so they are told of the same slots by blocks of text.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterable

from shared.engine_state import MOST_PREFIX_CHANGES

MOST_BLOCKS = 4096
"""That routers are told of: 2 MiB of text, about half a million tokens."""


class TextBlocks:
    """Blocks held per slot; a block is there for as long as any slot holds it. Of one epoch; it begins empty.

    Attributes:
        serial: changes so far.
    """

    def __init__(self) -> None:
        self._holders: Counter[str] = Counter()
        self._of_slot: dict[int, list[str]] = {}
        self._changes: deque[str] = deque(maxlen=MOST_PREFIX_CHANGES)
        self.serial = 0

    @property
    def held(self) -> Collection[str]:
        """All that are there."""
        return self._holders.keys()

    @property
    def changes(self) -> tuple[str, ...]:
        """The latest: `+` or `-` and the block's name."""
        return tuple(self._changes)

    def hold(self, slot: int, blocks: Iterable[str]) -> None:
        """A slot's prompt is computed; of blocks that are too many those at its end do not count."""
        if slot in self._of_slot:
            return
        held = self._of_slot[slot] = []
        for block in blocks:
            if block not in self._holders:
                if len(self._holders) >= MOST_BLOCKS:
                    return
                self._note("+", block)
            self._holders[block] += 1
            held.append(block)

    def release(self, slot: int) -> None:
        """The slot holds nothing any more; the end of a text goes before its beginning."""
        for block in reversed(self._of_slot.pop(slot, [])):
            if self._holders[block] == 1:
                del self._holders[block]
                self._note("-", block)
            else:
                self._holders[block] -= 1

    def _note(self, sign: str, block: str) -> None:
        self._changes.append(sign + block)
        self.serial += 1
