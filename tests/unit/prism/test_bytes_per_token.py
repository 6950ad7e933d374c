"""What a model's engines count is what prism reckons with."""

import pytest

from services.prism.bytes_per_token import LEAST, MOST, BytesPerToken
from services.prism.prompt_size import BYTES_PER_TOKEN, Ask, ask_of
from shared.api import decode_chat

TEXT = Ask(prompt_tokens=1000, output_tokens=1, text_bytes=4000)


def learned(ask: Ask, prompt_tokens: int, times: int = 300) -> float:
    of = BytesPerToken()
    for _ in range(times):
        of.learn("m", ask, prompt_tokens)
    return of.of("m")


def test_before_anything_is_known_it_is_what_english_prose_has():
    assert BytesPerToken().of("m") == BYTES_PER_TOKEN


def test_one_long_prompt_says_most_of_it_and_many_say_all():
    assert learned(TEXT, 800, times=1) == pytest.approx(4.8, abs=0.01)
    assert learned(TEXT, 800) == pytest.approx(5.0, abs=0.01)


def test_what_the_template_adds_is_not_text():
    body = b'{"model": "m", "messages": [{"role": "user", "content": "' + b"x" * 400 + b'"}]}'
    assert learned(ask_of(decode_chat(body)), 100 + 10) == pytest.approx(4.0)


def test_models_are_told_apart():
    of = BytesPerToken()
    of.learn("m", TEXT, 500)
    assert of.of("other") == BYTES_PER_TOKEN


@pytest.mark.parametrize(("counted", "bound"), [(1_000_000, LEAST), (1, MOST)])
def test_it_stays_within_what_can_be(counted: int, bound: float):
    assert learned(TEXT, counted, times=5000) == bound


@pytest.mark.parametrize("counted", [0, -3])
def test_nonsense_and_prompts_of_token_ids_teach_nothing(counted: int):
    assert learned(TEXT, counted) == BYTES_PER_TOKEN
    assert learned(Ask(prompt_tokens=9, output_tokens=1), 9) == BYTES_PER_TOKEN
