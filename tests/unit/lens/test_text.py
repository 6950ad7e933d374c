import pytest
from tokenizers import Tokenizer

from services.lens.text import TextStream
from tests.unit.lens.builders import byte_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return byte_tokenizer()


def shown(tokenizer: Tokenizer, text: str, *stops: str) -> tuple[list[str], TextStream]:
    stream = TextStream(tokenizer, stops)
    pieces = []
    for token_id in tokenizer.encode(text).ids:
        pieces.append(stream.push(token_id))
        if stream.stopped:
            break
    else:
        pieces.append(stream.finish())
    return pieces, stream


@pytest.mark.parametrize("text", ["plain", "naïve 日本語 🙂", " leading and  double ", "a\r\n\tb"])
def test_the_pieces_make_the_whole(tokenizer, text):
    assert "".join(shown(tokenizer, text)[0]) == text


def test_a_character_is_shown_only_when_it_is_whole(tokenizer):
    assert [piece for piece in shown(tokenizer, "é日")[0] if piece] == ["é", "日"]


def test_bytes_that_never_become_a_character_are_marked(tokenizer):
    stream = TextStream(tokenizer, ())
    first_byte = tokenizer.encode("é").ids[0]
    assert stream.push(first_byte) + stream.finish() == "\ufffd"


def test_special_tokens_are_no_text(tokenizer):
    assert "".join(shown(tokenizer, "a<end>b")[0]) == "ab"


@pytest.mark.parametrize(("stop", "expected"), [("lo w", "hel"), ("o", "hell"), ("d", "hello worl"), ("hello", "")])
def test_a_stop_string_and_what_follows_are_never_shown(tokenizer, stop, expected):
    pieces, stream = shown(tokenizer, "hello world", stop)
    assert ("".join(pieces), stream.stopped) == (expected, True)


def test_the_earliest_of_several_stop_strings_counts(tokenizer):
    pieces, _ = shown(tokenizer, "one two three", "three", "two")
    assert "".join(pieces) == "one "


def test_what_only_looked_like_a_stop_string_is_shown_in_the_end(tokenizer):
    pieces, stream = shown(tokenizer, "abcab", "abd", "bca!")
    assert ("".join(pieces), stream.stopped) == ("abcab", False)


def test_text_that_cannot_be_a_stop_string_is_not_held_back(tokenizer):
    assert shown(tokenizer, "xyz", "abc")[0][:3] == ["x", "y", "z"]
