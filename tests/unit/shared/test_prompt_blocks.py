"""Prism and lens name the same text alike, and no other."""

import json
import time

import pytest

from shared.api import AnyRequest, decode_chat, decode_completion
from shared.prompt_blocks import BLOCK_BYTES, MOST_BLOCKS, NAME_CHARACTERS, block_names, prompt_text

LONG = "All happy families are alike; each unhappy family is unhappy in its own way. " * 40


def chat(*turns: tuple[str, str]) -> AnyRequest:
    messages = [{"role": role, "content": content} for role, content in turns]
    return decode_chat(json.dumps({"model": "m", "messages": messages}).encode())


def completion(prompt: object) -> AnyRequest:
    return decode_completion(json.dumps({"model": "m", "prompt": prompt}).encode())


def names(request: AnyRequest, tenant: str = "", model: str = "m") -> tuple[str, ...]:
    return block_names(prompt_text(request), tenant=tenant, model=model)


def test_a_block_is_named_when_it_is_whole():
    assert [len(names(completion("x" * size))) for size in (BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES)] == [0, 1, 2]
    assert {len(name) for name in names(completion(LONG))} == {NAME_CHARACTERS}


def test_a_conversations_next_turn_begins_with_the_last_one():
    turns = (("system", LONG), ("user", LONG + "Why?"))
    first, second = names(chat(*turns)), names(chat(*turns, ("assistant", "So."), ("user", LONG)))
    assert len(second) > len(first) > 10
    assert second[: len(first)] == first


def test_what_differs_early_differs_in_all_that_follows():
    assert not set(names(completion("a" + LONG))) & set(names(completion("b" + LONG)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (chat(("system", LONG)), chat(("user", LONG))),
        (chat(("user", LONG + "a"), ("user", LONG)), chat(("user", LONG), ("user", "a" + LONG))),
        (completion(LONG), chat(("user", LONG))),
    ],
)
def test_who_says_what_is_a_part_of_the_text(one: AnyRequest, other: AnyRequest):
    assert names(one) != names(other)


def test_neither_tenants_nor_models_have_names_in_common():
    request = completion(LONG)
    known = [
        names(request, tenant, model) for tenant, model in (("", "m"), ("a", "m"), ("", "am"), ("m", ""), ("a", ""))
    ]
    assert len({name for each in known for name in each}) == sum(map(len, known))


def test_token_ids_are_text_too_but_for_those_that_no_model_has():
    assert names(completion(list(range(300))))[:2] == names(completion(list(range(290))))[:2]
    assert names(completion([2**40])) == ()


def test_of_a_very_long_text_only_the_beginning_is_looked_at():
    assert len(names(completion("x" * (BLOCK_BYTES * MOST_BLOCKS + 5_000)))) == MOST_BLOCKS


def test_names_are_what_other_versions_say():
    assert names(completion("x" * BLOCK_BYTES), tenant="t") == ("7abd70e508207d7b",)


def test_it_takes_no_time_that_anybody_would_notice():
    text = b"x" * 32_768
    took_s = []
    for _ in range(50):
        began_s = time.perf_counter()
        block_names(text, tenant="t", model="m")
        took_s.append(time.perf_counter() - began_s)
    assert min(took_s) < 1e-3  # 60 µs on an idle machine
