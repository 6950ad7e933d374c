"""Copied prefixes over the real model: a sequence draws what it would have drawn if it had computed everything itself.

The last bits of llama.cpp's arithmetic depend on the order of a sequence's cells in the cache, and it fills the cells that a
released slot leaves first. So the steps here leave no such hole open where equal tokens are demanded.
"""

from collections.abc import Sequence

import msgspec
import pytest

from shared.step import NO_SLOT, Chunk, RefusalCode, Sampling
from tests.integration.engine.client import EngineClient
from tests.integration.engine.sequences import GREEDY, PROMPTS, decode, prefill

NUM_DECODES = 12
PREFIX_TOKENS = 32
"""Two blocks; with what follows, steps stay so small that llama.cpp's arithmetic is exact enough for equal tokens."""
THIRD_TOKENS = 60
OWN, COPY, OTHER = 0, 1, 2
"""Slots: of the sequence that computes the prefix, of the one that copies it, and of one beside them."""


@pytest.fixture
def prompts(oracle) -> list[tuple[int, ...]]:
    """Prompts that begin alike, and go on differently."""
    common = oracle.tokenize(" ".join(PROMPTS))[:PREFIX_TOKENS]
    assert len(common) == PREFIX_TOKENS
    return [common + oracle.tokenize(prompt) for prompt in PROMPTS[1:4]]


@pytest.fixture(params=[{"temperature": 0.0}, {}, {"top_k": 50, "top_p": 0.9, "temperature": 0.7}], ids=str)
def sampling(request) -> Sampling:
    return Sampling(**{"seed": -7, **request.param})


def begin(slot: int, prompt: Sequence[int], sampling: Sampling) -> Chunk:
    """The common beginning, computed."""
    return Chunk(slot, 0, PREFIX_TOKENS, tuple(prompt[:PREFIX_TOKENS]), sample=False, sampling=sampling)


def rest(slot: int, prompt: Sequence[int], sampling: Sampling | None = None, source: int = NO_SLOT) -> Chunk:
    """What follows, behind a beginning that is there (then without sampling) or that is copied."""
    tokens = tuple(prompt[PREFIX_TOKENS:])
    return Chunk(slot, PREFIX_TOKENS, len(tokens), tokens, sample=True, sampling=sampling, prefix_slot=source)


def second(engine: EngineClient, prompt: Sequence[int], sampling: Sampling, *, copies: bool) -> Chunk:
    """The chunk with which the second sequence joins; its beginning is copied, or has been computed in a step by itself."""
    if copies:
        return rest(COPY, prompt, sampling, OWN)
    engine.step(begin(COPY, prompt, sampling))
    return rest(COPY, prompt)


def drawn_beside_its_source(engine, prompts, sampling: Sampling, *, copies: bool) -> list[tuple[int, ...]]:
    """All that is drawn while both go on; the plans are the same but for where the second's beginning comes from."""
    engine.open_epoch()
    engine.step(begin(OWN, prompts[0], sampling))
    engine.step(rest(OWN, prompts[0]))
    joining = second(engine, prompts[1], sampling, copies=copies)
    drawn = [engine.step(decode(OWN, len(prompts[0])), joining).sampled_ids]
    for i in range(NUM_DECODES):
        both = decode(OWN, len(prompts[0]) + 1 + i), decode(COPY, len(prompts[1]) + i)
        drawn.append(engine.step(*both).sampled_ids)
    return drawn


def drawn_after_its_source(engine, prompts, sampling: Sampling, *, copies: bool) -> list[int]:
    """What the second draws when the first has ended, is copied, is released, and a third takes its slot and all its room."""
    third = (prompts[2] * 2)[:THIRD_TOKENS]
    assert len(prompts[0]) <= THIRD_TOKENS
    engine.open_epoch()
    engine.step(begin(OWN, prompts[0], sampling))
    engine.step(rest(OWN, prompts[0]))
    drawn = list(engine.step(second(engine, prompts[1], sampling, copies=copies)).sampled_ids)
    drawn.append(engine.step(prefill(OWN, third), decode(COPY, len(prompts[1])), released=(OWN,)).sampled_ids[1])
    for i in range(1, NUM_DECODES):
        drawn += engine.step(decode(COPY, len(prompts[1]) + i)).sampled_ids
    return drawn


@pytest.mark.parametrize("drawn", [drawn_beside_its_source, drawn_after_its_source])
def test_a_copied_prefix_draws_the_very_tokens_that_a_computed_one_does(engine, prompts, sampling, drawn):
    assert drawn(engine, prompts, sampling, copies=True) == drawn(engine, prompts, sampling, copies=False)


def test_a_copied_prefix_draws_the_tokens_that_llama_cpp_draws_for_the_whole_prompt(engine, oracle, prompts):
    oracle.clear()
    oracle.step([begin(COPY, prompts[1], GREEDY)])
    expected = list(oracle.step([rest(COPY, prompts[1])]))
    for i in range(NUM_DECODES):
        expected += oracle.step([decode(COPY, len(prompts[1]) + i)])
    assert drawn_after_its_source(engine, prompts, GREEDY, copies=True) == expected[: NUM_DECODES + 1]


def test_a_sequence_copies_again_from_a_copy_whose_source_has_gone(engine, prompts, sampling):
    def drawn(source: int) -> list[int]:
        token_ids = list(engine.step(rest(OTHER, prompts[2], sampling, source)).sampled_ids)
        for i in range(NUM_DECODES):
            token_ids += engine.step(decode(OTHER, len(prompts[2]) + i)).sampled_ids
        return token_ids

    engine.step(begin(OWN, prompts[0], sampling))
    expected = drawn(OWN)
    engine.open_epoch()
    engine.step(begin(OWN, prompts[0], sampling))
    engine.step(rest(COPY, prompts[1], sampling, OWN))
    engine.step(released=(OWN,))
    assert drawn(COPY) == expected


def test_sixteen_may_copy_one_prefix_in_one_step_and_each_draws_as_if_alone(engine, prompts):
    samplings = [Sampling(seed=seed) for seed in range(16)]
    tail = prompts[1][PREFIX_TOKENS : PREFIX_TOKENS + 3]
    prompt = prompts[1][:PREFIX_TOKENS] + tail
    alone = []
    for sampling in samplings:
        engine.open_epoch()
        engine.step(begin(COPY, prompt, sampling))
        alone += engine.step(rest(COPY, prompt)).sampled_ids
    engine.open_epoch()
    engine.step(begin(OWN, prompt, GREEDY))
    together = engine.step(*(rest(slot, prompt, s, OWN) for slot, s in enumerate(samplings, start=1)))
    assert list(together.sampled_ids) == alone
    assert together.kv_blocks_used == 2 + 16


def test_copies_fill_the_cache_to_its_last_block_and_leave_it_empty(engine):
    """What the engine counts as free is free in llama.cpp's cache too, whoever was released first."""
    info = engine.info
    half_blocks = info.kv_blocks_total // 2
    half_tokens = half_blocks * info.kv_block_tokens
    engine.step(prefill(OWN, (1,) * half_tokens))
    copying = Chunk(COPY, half_tokens, 16, (2,) * 16, True, GREEDY, OWN)
    assert engine.step(copying).kv_blocks_used == half_blocks + 1
    assert engine.step(released=(OWN,)).kv_blocks_used == half_blocks + 1
    rest_tokens = (half_blocks - 1) * info.kv_block_tokens
    assert engine.step(prefill(OWN, (3,) * rest_tokens)).kv_blocks_used == info.kv_blocks_total
    assert engine.step(released=(OWN, COPY)).kv_blocks_used == 0
    assert engine.step(prefill(OWN, (1,) * half_tokens)).kv_blocks_used == half_blocks
    assert engine.step(prefill(COPY, (1,) * half_tokens)).kv_blocks_used == info.kv_blocks_total


@pytest.mark.parametrize(
    ("fields", "released", "code"),
    [
        ({"prefix_slot": COPY}, (), RefusalCode.UNKNOWN_SLOT),
        ({"prefix_slot": OTHER}, (), RefusalCode.UNKNOWN_SLOT),
        ({"prefix_slot": 300}, (), RefusalCode.UNKNOWN_SLOT),
        ({}, (OWN,), RefusalCode.UNKNOWN_SLOT),
        ({"first_position": 0}, (), RefusalCode.POSITION_MISMATCH),
        ({"first_position": PREFIX_TOKENS - 1}, (), RefusalCode.POSITION_MISMATCH),
        ({"first_position": PREFIX_TOKENS + 16}, (), RefusalCode.POSITION_MISMATCH),
        ({"sampling": None}, (), RefusalCode.UNKNOWN_SLOT),
    ],
)
def test_what_cannot_be_copied_is_refused_by_name_and_a_new_epoch_serves_again(engine, fields, released, code):
    engine.step(prefill(OWN, (1,) * PREFIX_TOKENS))
    copying = Chunk(COPY, PREFIX_TOKENS, 1, (2,), True, GREEDY, OWN)
    refused = msgspec.structs.replace(copying, **fields)
    assert engine.refusal(engine.plan(refused, released=released)) == code
    engine.open_epoch()
    engine.step(prefill(OWN, (1,) * PREFIX_TOKENS))
    engine.step(copying)
