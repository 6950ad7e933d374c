import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.sse import SseParser

STREAM = (
    ': keep-alive\n\ndata: {"text": "naïve"}\r\n\r\nevent: x\nid: 3\ndata:plain\n\ndata: a\ndata: b\n\ndata: [DONE]\n\n'
)
EVENTS = ['{"text": "naïve"}', "plain", "a\nb", "[DONE]"]


def read(*pieces: bytes) -> list[str]:
    parser = SseParser()
    return [data for piece in pieces for data in parser.feed(piece)]


def test_comments_and_other_fields_are_passed_over() -> None:
    assert read(STREAM.encode()) == EVENTS


@given(st.lists(st.integers(0, len(STREAM.encode()))))
def test_a_stream_may_be_cut_anywhere(cuts: list[int]) -> None:
    stream = STREAM.encode()
    edges = [0, *sorted(cuts), len(stream)]
    assert read(*(stream[start:end] for start, end in itertools.pairwise(edges))) == EVENTS


def test_an_event_counts_only_once_it_is_complete() -> None:
    parser = SseParser()
    assert list(parser.feed(b"data: half\n")) == []
    assert list(parser.feed(b"\n")) == ["half"]


@pytest.mark.parametrize("blank", [b"\n\n\n", b"\r\n\r\n"])
def test_blank_lines_alone_are_no_event(blank: bytes) -> None:
    assert read(blank) == []
