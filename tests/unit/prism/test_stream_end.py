"""How an answer ended is found in what passes by, however it is cut."""

import pytest

from services.prism.stream_end import STREAM_END, Ending, StreamEnd, ending_of

TEXT = b'data: {"choices":[{"index":0,"finish_reason":null,"text":"a"}]}\n\n'
STOP, LENGTH = (b'data: {"choices":[{"finish_reason":"%s","text":""}]}\n\n' % reason for reason in (b"stop", b"length"))
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":41,"total_tokens":46}}\n\n'


@pytest.mark.parametrize(
    ("pieces", "ending"),
    [
        ([TEXT, TEXT, STOP + STREAM_END], Ending(3, "stop")),  # the token that ends it has no text
        ([TEXT, TEXT, LENGTH + STREAM_END], Ending(2, "length")),
        ([TEXT, TEXT, LENGTH, STREAM_END], Ending(2, "length")),
        ([TEXT, LENGTH, USAGE, STREAM_END], Ending(41, "length")),
        ([TEXT * 100 + STOP + USAGE + STREAM_END], Ending(41, "stop")),
        ([STREAM_END], Ending(0, None)),
        ([b'data: {"text":"\\"finish_reason\\":\\"length\\""}\n\n', STREAM_END], Ending(1, None)),
    ],
)
def test_the_end_of_a_stream_says_how_it_ended(pieces: list[bytes], ending: Ending) -> None:
    stream = StreamEnd()
    assert [stream.take(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert stream.ending == ending


def test_a_stream_without_an_end_mark_counts_what_came() -> None:
    stream = StreamEnd()
    assert not stream.take(TEXT + TEXT)
    assert stream.ending == Ending(2, None)


def test_an_end_mark_inside_an_event_is_none() -> None:
    assert not StreamEnd().take(b"data: first line\n" + STREAM_END)


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        (b'{"choices":[{"finish_reason":"length"}],"usage":{"completion_tokens":7}}', Ending(7, "length")),
        (b'{"choices":[{"text":"fine"}]}', Ending()),
        (b'{"error":{"message":"no"}}', Ending()),
        (b'{"choices":"none"}', Ending()),
        (b"not JSON", Ending()),
        (b"", Ending()),
        (b"[" * 100_000, Ending()),
    ],
)
def test_an_answer_in_one_piece_counts_its_tokens_itself(body: bytes, ending: Ending) -> None:
    assert ending_of(body) == ending
