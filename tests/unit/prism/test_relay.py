"""A stream is cut only where an event ends."""

import pytest

from services.prism.relay import MOST_HELD_BYTES, WholeEvents


@pytest.mark.parametrize(
    ("chunks", "passed", "held"),
    [
        ([b"data: 1\n\n"], [b"data: 1\n\n"], b""),
        ([b"data: 1\n\ndata: 2\n\n"], [b"data: 1\n\ndata: 2\n\n"], b""),
        ([b"data: 1\n\nda", b"ta: 2\n\n"], [b"data: 1\n\n", b"data: 2\n\n"], b""),
        ([b"data: 1\n", b"\n"], [b"", b"data: 1\n\n"], b""),
        ([b"data: torn"], [b""], b"data: torn"),
        ([b""], [b""], b""),
    ],
)
def test_what_is_not_a_whole_event_is_held_back(chunks: list[bytes], passed: list[bytes], held: bytes) -> None:
    events = WholeEvents()
    assert [events.take(chunk) for chunk in chunks] == passed
    assert events.held == held


def test_an_event_without_end_is_passed_on_before_it_fills_the_memory() -> None:
    events = WholeEvents()
    endless = b"x" * (MOST_HELD_BYTES + 1)
    assert events.take(endless) == endless
    assert events.held == b""
