"""Requests are sized without a tokenizer."""

import json

import pytest

from services.prism.output_lengths import TYPICAL
from services.prism.prompt_size import Ask, ask_of
from shared.api import decode_chat, decode_completion


def size(ask: Ask) -> Ask:
    """Nothing but the counts."""
    return Ask(
        prompt_tokens=ask.prompt_tokens, output_tokens=ask.output_tokens, most_output_tokens=ask.most_output_tokens
    )


@pytest.mark.parametrize(
    ("fields", "ask"),
    [
        ('"prompt": "12345678"', Ask(prompt_tokens=2, output_tokens=16, most_output_tokens=16)),
        ('"prompt": "1"', Ask(prompt_tokens=1, output_tokens=16, most_output_tokens=16)),
        ('"prompt": [5, 6, 7]', Ask(prompt_tokens=3, output_tokens=16, most_output_tokens=16)),
        (
            '"prompt": "1", "max_tokens": 1000',
            Ask(prompt_tokens=1, output_tokens=round(TYPICAL.expected(1000)), most_output_tokens=1000),
        ),
        (
            '"prompt": "1", "max_tokens": 1000, "ignore_eos": true',
            Ask(prompt_tokens=1, output_tokens=1000, most_output_tokens=1000),
        ),
    ],
)
def test_a_completion_is_as_large_as_its_prompt_and_limit(fields: str, ask: Ask) -> None:
    assert size(ask_of(decode_completion(f'{{"model": "m", {fields}}}'.encode()))) == ask


def test_a_chat_counts_its_messages_and_what_the_template_adds() -> None:
    body = b'{"model": "m", "messages": [{"role": "system", "content": "1234"}, {"role": "user", "content": "12345"}]}'
    assert size(ask_of(decode_chat(body))) == Ask(prompt_tokens=1 + 2 + 3 * 5, output_tokens=round(TYPICAL.expected()))


def test_what_is_known_of_the_tokenizer_counts() -> None:
    body = b'{"model": "m", "prompt": "' + b"x" * 1000 + b'"}'
    assert ask_of(decode_completion(body), bytes_per_token=5.5).prompt_tokens == 182


@pytest.mark.parametrize("prompt", ["x" * 1024, list(range(256))])
def test_a_prompts_tokens_are_spread_evenly_over_its_text(prompt: object) -> None:
    ask = ask_of(decode_completion(json.dumps({"model": "m", "prompt": prompt}).encode()))
    assert len(ask.blocks) == 2
    assert ask.block_tokens == pytest.approx(128.0, abs=0.2)
    assert (
        ask_of(decode_completion(json.dumps({"model": "m", "prompt": prompt}).encode()), tenant="t").blocks
        != ask.blocks
    )
