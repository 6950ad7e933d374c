"""A mirror of what engines hold is what they hold, whatever was lost on the way; and what it says of a prompt is so."""

import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.lens.text_blocks import TextBlocks
from services.prism.cached_prefixes import Behind, CachedPrefixes
from services.prism.fleet import EngineView
from shared.prompt_blocks import block_names
from tests.unit.prism.builders import engine

ENGINES = ("x", "y", "z")
TEXTS = st.lists(st.sampled_from("ab"), max_size=5).map("".join)
"""A letter a block."""
SLOTS = 3


def chain(text: str) -> tuple[str, ...]:
    return tuple(hashlib.sha256(text[:end].encode()).hexdigest()[:16] for end in range(1, len(text) + 1))


class Lens:
    """Holds text, begins anew, and tells of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch = 1
        self.held = TextBlocks()

    def begin_anew(self) -> None:
        self.epoch += 1
        self.held = TextBlocks()

    def view(self) -> EngineView:
        held = self.held
        return engine(
            self.name,
            prefix_epoch=str(self.epoch),
            prefix_serial=held.serial,
            prefix_blocks=len(held.held),
            prefix_changes=held.changes[-4:],  # so few that a little is enough to be missed
        )

    def depth(self, blocks: tuple[str, ...]) -> int:
        return next((depth for depth, block in enumerate(blocks) if block not in self.held.held), len(blocks))


names = st.sampled_from(ENGINES)
events = st.one_of(
    st.tuples(st.just("hold"), names, st.integers(0, SLOTS - 1), TEXTS),
    st.tuples(st.just("release"), names, st.integers(0, SLOTS - 1)),
    st.tuples(st.just("begin anew"), names),
    st.tuples(st.just("leave"), names),
    st.tuples(st.just("tell")),
    st.tuples(st.just("read a set"), names),
    st.tuples(st.just("set comes")),
)


class System:
    """Lenses, a router's mirror of them, and sets on their way to it."""

    def __init__(self) -> None:
        self.lenses = {name: Lens(name) for name in ENGINES}
        self.mirror = CachedPrefixes()
        self._absent: set[str] = set()
        self._sets: list[tuple[str, Behind, set[str]]] = []

    def handle(self, event: tuple[Any, ...]) -> None:
        match event:
            case ("hold", name, slot, text):
                self.lenses[name].held.hold(slot, chain(text))
            case ("release", name, slot):
                self.lenses[name].held.release(slot)
            case ("begin anew", name):
                self.lenses[name].begin_anew()
            case ("leave", name):
                self._absent.add(name)
            case ("tell",):
                self.mirror.take([lens.view() for lens in self.lenses.values() if lens.name not in self._absent])
                self._absent.clear()
            case ("read a set", name) if name in self.mirror.behind:
                self._sets.append((name, self.mirror.behind[name], set(self.lenses[name].held.held)))
            case ("set comes",) if self._sets:
                self.mirror.replace(*self._sets.pop(0))

    def settle(self) -> None:
        """Everything on its way comes, and every set that is wanted is read."""
        for _ in range(len(self._sets)):
            self.handle(("set comes",))
        self._absent.clear()
        self.handle(("tell",))
        for name in tuple(self.mirror.behind):
            self.handle(("read a set", name))
            self.handle(("set comes",))
        self.handle(("tell",))


@given(st.lists(events, max_size=60), TEXTS)
def test_a_mirror_is_what_the_engine_holds_once_nothing_is_behind(history, text):
    system = System()
    for event in history:
        system.handle(event)
    system.settle()
    blocks = chain(text)
    assert system.mirror.behind == {}
    assert system.mirror.cached_blocks(blocks) == {
        name: depth for name, lens in system.lenses.items() if (depth := lens.depth(blocks))
    }


@given(st.binary(max_size=3000), st.binary(max_size=3000), st.sampled_from("ab"), st.sampled_from("ab"))
def test_a_longer_text_begins_as_the_shorter_one_and_tenants_have_nothing_in_common(text, more, tenant, other):
    short, long = block_names(text, tenant=tenant, model="m"), block_names(text + more, tenant=other, model="m")
    if tenant == other:
        assert long[: len(short)] == short
    else:
        assert not set(short) & set(long)
