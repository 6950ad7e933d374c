"""The whole native system over emulated GPUs: asked like any other, and plainly emulated."""

from collections.abc import Iterator

import openai
import pytest
import redis

from infra.native.ports import free_ports
from infra.native.system import NativeSystem
from services.engine.profile import load_profile
from shared.engine_state import EngineState
from shared.names import engine_key
from shared.wire import decode

PROFILES = ("h100-llama3.1-8b", "2xa6000-llama3.1-8b")


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Iterator[NativeSystem]:
    with NativeSystem(tmp_path_factory.mktemp("fleet"), free_ports(), profiles=PROFILES) as running:
        running.ready(within_s=120)
        yield running


def test_every_answer_is_as_long_as_was_asked_for(system):
    client = openai.OpenAI(base_url=f"{system.url}/v1", api_key="unused", max_retries=0)
    for max_tokens in (1, 7, 40):
        answer = client.completions.create(model="Llama-3.1-8B", prompt="Hello " * 300, max_tokens=max_tokens)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == max_tokens


def test_engines_announce_that_they_are_emulated_with_the_limits_of_their_profiles(system):
    with redis.Redis(port=system.ports.redis_port) as database:
        states = [decode(database.get(engine_key(name)), EngineState) for name in sorted(system.engines)]
    assert [state.emulated for state in states] == [True, True]
    assert [state.hardware_class for state in states] == ["2xa6000-emulated", "h100-emulated"]
    profiles = [load_profile(name) for name in sorted(PROFILES)]
    assert [state.kv_blocks_total for state in states] == [profile.kv_blocks_total for profile in profiles]
