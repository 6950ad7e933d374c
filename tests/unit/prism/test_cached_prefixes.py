"""Who has the beginning of a prompt, from what engines tell."""

from services.prism.cached_prefixes import Behind, CachedPrefixes
from services.prism.fleet import EngineView
from tests.unit.prism.builders import engine

CHAIN = ("a", "b", "c")


def telling(name: str, serial: int, *changes: str, epoch: str = "1") -> EngineView:
    return engine(name, prefix_epoch=epoch, prefix_serial=serial, prefix_blocks=2, prefix_changes=changes)


def having(*views: EngineView) -> CachedPrefixes:
    of = CachedPrefixes()
    of.take(views)
    return of


def test_each_engine_counts_as_far_as_its_text_goes():
    of = having(telling("x", 3, "+a", "+b", "+c"), telling("y", 2, "+a", "+c"), telling("z", 1, "+b"), engine("w"))
    assert of.cached_blocks(CHAIN) == {"x": 3, "y": 1}
    assert of.cached_blocks(("a", "b", "c", "d")) == {"x": 3, "y": 1}
    assert of.cached_blocks(()) == {}


def test_what_is_told_again_counts_once_and_what_is_gone_is_gone():
    of = having(telling("x", 2, "+a", "+b"))
    of.take([telling("x", 3, "+a", "+b", "-b")])
    assert of.cached_blocks(CHAIN) == {"x": 1}


def test_a_mirror_that_missed_changes_says_so_and_is_as_good_as_it_can_be_until_the_set_is_read():
    of = having(telling("x", 1, "+a"))
    of.take([telling("x", 9, "+b", "-a", "+c")])
    assert of.behind == {"x": Behind("1", 9, blocks=2)}
    assert of.cached_blocks(("b",)) == {"x": 1}
    of.replace("x", of.behind["x"], [])  # lost by Redis
    assert of.behind
    of.replace("x", of.behind["x"], ["b", "c", "d"])
    assert (of.behind, of.cached_blocks(("d",))) == ({}, {"x": 1})
    of.take([telling("x", 10, "+b", "-a", "+c", "-d")])
    assert (of.behind, of.cached_blocks(("d",))) == ({}, {})


def test_what_changed_while_the_set_was_read_is_applied_on_top():
    of = having(telling("x", 9, "+a"))
    behind = of.behind["x"]
    now = telling("x", 10, "-a")
    of.take([now])
    of.replace("x", behind, ["a"])
    of.take([now])
    assert (of.behind, of.cached_blocks(CHAIN)) == ({}, {})


def test_an_engine_that_begins_anew_has_nothing_and_no_late_set_says_otherwise():
    of = having(telling("x", 9, "+a"))
    behind = of.behind["x"]
    of.take([telling("x", 1, "+c", epoch="2")])
    of.replace("x", behind, ["a"])
    assert (of.behind, of.cached_blocks(CHAIN), of.cached_blocks(("c",))) == ({}, {}, {"x": 1})
    of.take([telling("x", 9, epoch="3")])
    of.take([telling("x", 0, epoch="4")])
    assert of.behind == {}


def test_an_engine_that_leaves_is_forgotten_and_another_may_have_its_place():
    of = having(telling("x", 1, "+a"))
    of.take([telling("y", 1, "+c")])
    assert [of.cached_blocks((block,)) for block in CHAIN] == [{}, {}, {"y": 1}]
