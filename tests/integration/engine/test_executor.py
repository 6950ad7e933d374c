"""The llama.cpp executor by itself: what it does when llama.cpp refuses a batch."""

import pytest

from services.engine.llamacpp import LlamaCppExecutor
from services.engine.settings import EngineSettings
from tests.integration.engine.sequences import decode, prefill

PROMPT = (504, 3575, 282, 4649, 314)


@pytest.fixture(scope="module")
def loaded() -> LlamaCppExecutor:
    return LlamaCppExecutor(EngineSettings(kv_tokens=256, max_step_tokens=512, slots=8))


@pytest.fixture
def executor(loaded: LlamaCppExecutor) -> LlamaCppExecutor:
    loaded.reset()
    return loaded


def test_its_limits_are_those_of_the_cache(executor):
    info = executor.info
    assert (info.kv_blocks_total, info.max_context_tokens, info.max_step_tokens) == (16, 256, 256)


@pytest.mark.parametrize(
    "refused",
    [[decode(0, 9)], [prefill(1, (10**6,))], [prefill(1, PROMPT), decode(0, 9)], [prefill(1, (1,) * 254)]],
    ids=["a gap in positions", "a token that is none", "one bad of two", "no room in the cache"],
)
def test_after_a_batch_that_llama_cpp_refuses_a_reset_makes_it_as_new(executor, refused):
    expected = executor.run([prefill(0, PROMPT)])
    with pytest.raises(ValueError, match=r"."):
        executor.run(refused)
    executor.reset()
    assert executor.run([prefill(0, PROMPT)]) == expected


def test_a_cache_in_pieces_holds_as_much_as_one_in_one_piece(executor):
    for slot in range(8):
        executor.run([prefill(slot, (slot,) * 32)])
    for slot in (0, 2, 4, 6):
        executor.release(slot)
    executor.run([prefill(0, (9,) * 128)])
    with pytest.raises(ValueError, match=r"."):
        executor.run([decode(0, 128)])
