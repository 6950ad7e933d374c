"""The profile `llm`: a real model behind real engines, in a second system of its own."""

from collections.abc import Iterator

import openai
import pytest

from tests.compose.load import several
from tests.compose.system import REAL, ComposeSystem, started
from tests.servers import eventually_sync

SERVED_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def real_system() -> Iterator[ComposeSystem]:
    with started(ComposeSystem("synergysched-llm-test", REAL, {})) as running:
        yield running


def test_a_real_model_answers_with_words_from_both_engines_and_their_steps_are_learned(
    real_system: ComposeSystem,
) -> None:
    client = openai.OpenAI(base_url=f"{real_system.url}/v1", api_key="unused", max_retries=0)
    (card,) = client.models.list()
    body = {"model": card.id, "prompt": "The capital of France is", "max_tokens": 8}
    answer = client.completions.create(model=card.id, prompt=str(body["prompt"]), max_tokens=8, temperature=0)
    assert "Paris" in answer.choices[0].text

    def all_serve_and_are_learned() -> bool:
        return set(real_system.engines) <= set(several(real_system.url, body)) and all(
            real_system.steps_learned(engine) for engine in real_system.engines
        )

    eventually_sync(all_serve_and_are_learned, SERVED_WITHIN_S)
