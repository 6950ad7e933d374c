"""Which engines have the beginning of a prompt in their caches, as their lenses tell. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress
from operator import is_not
from typing import NamedTuple

from services.prism.fleet import EngineView
from shared.engine_state import EngineState


class Behind(NamedTuple):
    """A mirror that missed changes: the whole set must be read, after which it is as good as this."""

    epoch: str
    serial: int
    blocks: int
    """In the set when that was told."""


class CachedPrefixes:
    """A mirror of the blocks of text that each engine holds, turned round: by block, who has it.

    Attributes:
        behind: by engine, mirrors whose whole set must be read; meanwhile they are as good as they can be.
    """

    def __init__(self) -> None:
        self.behind: dict[str, Behind] = {}
        self._mirrors: dict[str, _Mirror] = {}
        self._names: list[str] = []
        """Engines, each at the place of its bit; those that have left keep theirs until another needs it."""
        self._free_places: list[int] = []
        self._held: dict[str, int] = {}
        """By block, the bits of the engines that hold it."""
        self._taken: Sequence[EngineView] = ()
        """What was last learned from; empty where all must be looked at."""

    def take(self, engines: Sequence[EngineView]) -> None:
        """Learn what the engines' states tell; they are all that there are."""
        if engines is self._taken:
            return
        if len(engines) == len(self._taken):
            changed: Iterable[EngineView] = compress(engines, map(is_not, engines, self._taken))
        else:
            changed = engines
        self._taken = engines
        for engine in changed:
            state = engine.state
            mirror = self._mirrors.get(state.engine)
            if mirror is None:
                if state.prefix_epoch:
                    self._follow(self._joined(state.engine), state)
            elif mirror.state is not state:
                self._follow(mirror, state)
        if self._mirrors and not self._mirrors.keys() <= {engine.state.engine for engine in engines}:
            for name in self._mirrors.keys() - {engine.state.engine for engine in engines}:
                self._leave(name)

    def replace(self, engine: str, behind: Behind, blocks: Iterable[str]) -> None:
        """The whole set has been read, after `behind` was found; what has changed since is told by the next state."""
        mirror, now_held = self._mirrors.get(engine), set(blocks)
        if mirror is None or mirror.epoch != behind.epoch:
            return
        if behind.blocks and not now_held:
            return  # Redis has lost it, and lens will write it anew
        self.behind.pop(engine, None)
        for block in mirror.held - now_held:
            self._drop(mirror, block)
        for block in now_held - mirror.held:
            self._hold(mirror, block)
        mirror.state, mirror.serial, mirror.seen_serial = None, behind.serial, behind.serial
        self._taken = ()

    def cached_blocks(self, blocks: Sequence[str]) -> Mapping[str, int]:
        """By engine, how many of a prompt's first blocks it has; engines that have none are not in it."""
        counts: dict[str, int] = {}
        having = -1
        for count, block in enumerate(blocks):
            still_having = self._held.get(block, 0) & having
            if count and still_having != having:
                self._count(counts, having & ~still_having, count)
            having = still_having
            if not having:
                return counts
        if blocks:
            self._count(counts, having, len(blocks))
        return counts

    def _count(self, counts: dict[str, int], bits: int, count: int) -> None:
        for place in _places(bits):
            counts[self._names[place]] = count

    def _follow(self, mirror: "_Mirror", state: EngineState) -> None:
        if mirror.epoch != state.prefix_epoch:
            self._forget_held(mirror)
            self.behind.pop(state.engine, None)
            mirror.epoch, mirror.serial, mirror.seen_serial = state.prefix_epoch, 0, 0
        mirror.state = state
        told, serial = state.prefix_changes, state.prefix_serial
        if serial <= mirror.seen_serial:
            return
        for change in told[-(serial - mirror.seen_serial) :]:
            if change[0] == "+":
                self._hold(mirror, change[1:])
            else:
                self._drop(mirror, change[1:])
        mirror.seen_serial = serial
        if serial - mirror.serial <= len(told):
            mirror.serial = serial
            self.behind.pop(state.engine, None)
        else:
            self.behind[state.engine] = Behind(mirror.epoch, serial, state.prefix_blocks)

    def _hold(self, mirror: "_Mirror", block: str) -> None:
        mirror.held.add(block)
        self._held[block] = self._held.get(block, 0) | mirror.bit

    def _drop(self, mirror: "_Mirror", block: str) -> None:
        if block in mirror.held:
            mirror.held.remove(block)
            _clear_bit(self._held, block, mirror.bit)

    def _joined(self, name: str) -> "_Mirror":
        if self._free_places:
            place = self._free_places.pop()
            self._names[place] = name
        else:
            place = len(self._names)
            self._names.append(name)
        mirror = self._mirrors[name] = _Mirror(place)
        return mirror

    def _leave(self, name: str) -> None:
        mirror = self._mirrors.pop(name)
        self._forget_held(mirror)
        mirror.epoch = ""
        self.behind.pop(name, None)
        self._free_places.append(mirror.place)

    def _forget_held(self, mirror: "_Mirror") -> None:
        for block in mirror.held:
            _clear_bit(self._held, block, mirror.bit)
        mirror.held.clear()


class _Mirror:
    """What is known of one engine."""

    __slots__ = ("bit", "epoch", "held", "place", "seen_serial", "serial", "state")

    def __init__(self, place: int) -> None:
        self.place = place
        self.bit = 1 << place
        self.epoch = ""
        self.serial = 0
        """Up to which no change was missed."""
        self.seen_serial = 0
        """Up to which changes were seen, but for those that were missed."""
        self.state: EngineState | None = None
        """The last one seen."""
        self.held: set[str] = set()


def _places(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _clear_bit(index: dict[str, int], block: str, bit: int) -> None:
    left = index[block] & ~bit
    if left:
        index[block] = left
    else:
        del index[block]
