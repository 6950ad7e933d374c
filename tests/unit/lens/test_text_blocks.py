"""What routers are told of the text in the cache: a block is there for as long as a slot holds it."""

import pytest

from services.lens import text_blocks
from services.lens.text_blocks import TextBlocks


def test_a_block_goes_with_the_last_slot_that_holds_it():
    of = TextBlocks()
    of.hold(0, ("a", "b"))
    of.hold(1, ("a", "c"))
    assert of.changes == ("+a", "+b", "+c")
    of.release(0)
    assert set(of.held) == {"a", "c"}
    assert list(of.changes)[3:] == ["-b"]
    of.release(1)
    assert set(of.held) == set()
    assert list(of.changes)[4:] == ["-c", "-a"]
    assert of.serial == 6


def test_a_slot_that_holds_its_prompt_already_holds_it_once():
    of = TextBlocks()
    of.hold(0, ("a",))
    of.hold(0, ("a",))
    of.release(0)
    of.release(0)
    assert (set(of.held), of.serial) == (set(), 2)


def test_only_the_latest_changes_are_told():
    of = TextBlocks()
    of.hold(0, map(str, range(100)))
    assert (of.serial, len(of.changes), of.changes[-1]) == (100, 64, "+99")


def test_beyond_the_most_a_text_is_told_of_by_its_beginning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text_blocks, "MOST_BLOCKS", 3)
    of = TextBlocks()
    of.hold(0, ("a", "b"))
    of.hold(1, ("a", "c", "d"))
    assert set(of.held) == {"a", "b", "c"}
    of.release(1)
    assert set(of.held) == {"a", "b"}
