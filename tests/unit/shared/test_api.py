import json

import pytest

from shared.api import decode_chat, decode_completion
from shared.errors import BadRequest

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def chat(**fields):
    return decode_chat(json.dumps({**CHAT, **fields}).encode())


def completion(**fields):
    return decode_completion(json.dumps({"model": "m", "prompt": "hi", **fields}).encode())


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1},
        {"tools": []},
        {"tools": None},
        {"tool_choice": "none"},
        {"response_format": {"type": "text"}},
        {"presence_penalty": 0},
        {"frequency_penalty": 0.0},
        {"logit_bias": {}},
        {"logprobs": False},
        {"store": False},
        {"user": "u-1", "metadata": {"a": "b"}},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
    ],
)
def test_a_neutral_value_is_accepted(fields):
    assert chat(**fields).model == "m"


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 2},
        {"n": 0},
        {"tools": [{"type": "function"}]},
        {"tool_choice": "required"},
        {"response_format": {"type": "json_object"}},
        {"presence_penalty": 0.5},
        {"logit_bias": {"5": 1}},
        {"logprobs": True},
        {"top_logprobs": 2},
        {"audio": {"voice": "x"}},
        {"modalities": ["text", "audio"]},
        {"reasoning_effort": "low"},
        {"store": True},
        {"service_tier": "priority"},
    ],
)
def test_what_is_not_supported_is_named_never_ignored(fields):
    with pytest.raises(BadRequest) as error:
        chat(**fields)
    assert error.value.param == next(iter(fields))


def test_the_newer_name_of_the_limit_counts():
    assert chat(max_completion_tokens=7).output_limit == 7
    assert chat(max_tokens=5).output_limit == 5
    assert chat(max_tokens=5, max_completion_tokens=5).output_limit == 5


def test_two_limits_that_differ_are_a_mistake():
    with pytest.raises(BadRequest) as error:
        chat(max_tokens=5, max_completion_tokens=6)
    assert error.value.param == "max_tokens"


def test_a_completion_has_sixteen_tokens_unless_told_a_chat_what_the_context_holds():
    assert completion().output_limit == 16
    assert chat().output_limit is None


@pytest.mark.parametrize(
    ("prompt", "single"), [("a", "a"), (["a"], "a"), ([1, 2], [1, 2]), ([[1, 2]], [1, 2]), ([3], [3])]
)
def test_one_prompt_may_come_in_a_list(prompt, single):
    assert completion(prompt=prompt).single_prompt == single


@pytest.mark.parametrize("prompt", ["", [], [""], [[]], ["a", "b"], [[1], [2]], [1, "a"]])
def test_no_prompt_and_several_prompts_are_refused(prompt):
    with pytest.raises(BadRequest) as error:
        completion(prompt=prompt)
    assert error.value.param == "prompt"


@pytest.mark.parametrize(("stop", "stops"), [(None, ()), ("x", ("x",)), (["x", "y"], ("x", "y"))])
def test_stop_is_a_text_or_some(stop, stops):
    assert completion(stop=stop).stop_strings == stops


@pytest.mark.parametrize("stop", ["", [""], ["a", "b", "c", "d", "e"], "x" * 257])
def test_stop_strings_are_bounded(stop):
    with pytest.raises(BadRequest) as error:
        completion(stop=stop)
    assert error.value.param == "stop"


def test_content_may_come_in_parts():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert chat(messages=[{"role": "user", "content": parts}]).messages[0].text == "ab"


def test_an_image_is_refused_by_its_place():
    parts = [{"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(BadRequest) as error:
        chat(messages=[{"role": "user", "content": parts}])
    assert error.value.param == "messages[0].content[0].type"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "top_k"])
@pytest.mark.parametrize("value", [-7, 2**31, 10**400])
def test_an_absurd_limit_is_refused_by_name(field, value):
    with pytest.raises(BadRequest) as error:
        decode_chat(json.dumps(CHAT)[:-1].encode() + f', "{field}": {value}}}'.encode())
    assert error.value.param == field
