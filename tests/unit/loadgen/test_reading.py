import numpy as np
import pytest

from loadgen.reading import KEPT_CHARACTERS, BrokenStream, Reading, error_message


def chunk(content: str = "", finish_reason: str | None = None) -> str:
    reason = "null" if finish_reason is None else f'"{finish_reason}"'
    return f'{{"choices": [{{"delta": {{"content": "{content}"}}, "finish_reason": {reason}}}], "usage": null}}'


USAGE = '{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}}'


def test_times_count_from_sending_to_the_first_text_and_to_the_end() -> None:
    reading = Reading(sent_at_s=100.0)
    for data, at_s in ((chunk(""), 100.1), (chunk("Be"), 100.5), (chunk("es"), 100.75), (chunk("", "stop"), 101.0)):
        reading.take(data, at_s)
    reading.take(USAGE, 101.5)
    assert reading.fields == {
        "text": "Bees",
        "ttft_s": 0.5,
        "e2e_s": 1.0,
        "gaps": np.array([0.25], "<f4").tobytes(),
        "finish_reason": "stop",
        "prompt_tokens": 5,
        "output_tokens": 3,
    }


def test_an_error_in_the_stream_is_told_in_its_words() -> None:
    with pytest.raises(BrokenStream, match="the engine has gone"):
        Reading(0.0).take('{"error": {"message": "the engine has gone", "type": "server_error"}}', 1.0)


def test_a_usage_without_a_total_is_enough() -> None:
    reading = Reading(0.0)
    reading.take('{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}', 1.0)
    assert (reading.fields["prompt_tokens"], reading.fields["output_tokens"]) == (5, 3)


@pytest.mark.parametrize(
    "data", ['{"usage": {"prompt_tokens": 5, "completion_tokens": -3, "total_tokens": 2}}', '{"x": ' + "[" * 100_000]
)
def test_counts_below_zero_and_bottomless_events_are_refused(data: str) -> None:
    with pytest.raises(BrokenStream, match="not an event"):
        Reading(0.0).take(data, 1.0)


def test_an_errors_body_may_be_anything() -> None:
    assert error_message(b'{"error": {"message": "busy"}}') == "busy"
    assert error_message(b'{"error": {"message": "\xe9"}}') == '{"error": {"message": "\ufffd"}}'
    assert error_message(b"[" * 100_000).startswith("[[")


def test_an_event_that_is_not_of_a_chat_stream_is_refused() -> None:
    with pytest.raises(BrokenStream, match="not an event"):
        Reading(0.0).take("<html>", 1.0)


def test_plain_completions_and_reasoning_are_text_too() -> None:
    reading = Reading(sent_at_s=0.0)
    reading.take('{"choices": [{"text": "Be"}]}', 0.5)
    reading.take('{"choices": [{"delta": {"reasoning_content": "es"}}]}', 0.75)
    assert (reading.fields["text"], reading.fields["ttft_s"]) == ("Bees", 0.5)


def test_of_a_long_answer_only_the_beginning_is_kept_but_every_gap() -> None:
    reading = Reading(sent_at_s=0.0)
    for second in range(2 * KEPT_CHARACTERS):
        reading.take(chunk("word"), second)
    assert len(reading.fields["text"]) == KEPT_CHARACTERS
    assert len(reading.fields["gaps"]) == 4 * (2 * KEPT_CHARACTERS - 1)
