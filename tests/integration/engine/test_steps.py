"""The step contract over a real Triton: what runs, in which order, what is refused, and that it goes on afterwards."""

import msgspec
import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from shared.step import NO_TOKEN, Chunk, OpenEpoch, Probe, RefusalCode, StepPlan
from shared.tensors import encode_request
from tests.integration.engine.sequences import GREEDY, PROMPTS, decode, prefill, staggered

SMALL_STEP_TOKENS = 64
"""Below it, llama.cpp's arithmetic is exact enough for equal tokens to be demanded."""


def test_it_speaks_sensible_english(engine, oracle):
    prompt = oracle.tokenize(
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
    )
    token_ids = list(engine.step(prefill(0, prompt)).sampled_ids)
    token_ids += [engine.step(decode(0, len(prompt) + i)).sampled_ids[0] for i in range(8)]
    assert "Paris" in oracle.detokenize(token_ids)


def test_it_says_what_it_is(engine):
    info = engine.info
    assert (info.executor, info.emulated, info.vocab_size, info.max_slots) == ("llamacpp", False, 49152, 24)
    assert (info.kv_block_tokens, info.kv_blocks_total, info.max_context_tokens) == (16, 64, 1024)
    assert info.copies_prefixes


def test_mixed_chunks_and_decodes_give_the_tokens_that_llama_cpp_gives_for_the_same_steps(engine, oracle):
    steps = staggered([oracle.tokenize(prompt) for prompt in PROMPTS], num_steps=30, chunk_tokens=7)
    assert all(sum(chunk.num_tokens for chunk in chunks) < SMALL_STEP_TOKENS for chunks in steps)
    oracle.clear()
    expected = [oracle.step(chunks) for chunks in steps]
    assert [engine.step(*chunks).sampled_ids for chunks in steps] == expected


def test_steps_sent_ahead_run_in_order_and_give_the_same_tokens(engine, oracle):
    steps = staggered([oracle.tokenize(prompt) for prompt in PROMPTS], num_steps=30, chunk_tokens=7)
    one_by_one = [engine.step(*chunks).sampled_ids for chunks in steps]
    engine.open_epoch()
    for chunks in steps:
        engine.send(engine.plan(*chunks))
    ahead = [engine.receive() for _ in steps]
    assert [answer.step for answer in ahead] == list(range(1, len(steps) + 1))
    assert [answer.sampled_ids for answer in ahead] == one_by_one


def test_time_on_the_device_and_blocks_are_reported(engine):
    answer = engine.step(prefill(0, (1,) * 17), prefill(1, (1,) * 16))
    assert answer.kv_blocks_used == 3
    assert 0 < answer.duration_s < 10
    assert engine.step(decode(1, 16), released=(0,)).kv_blocks_used == 2


def test_a_slot_is_used_again_as_if_it_were_new(engine, oracle):
    prompt, other = oracle.tokenize(PROMPTS[0]), oracle.tokenize(PROMPTS[1])

    def generate(released: tuple[int, ...]) -> list[int]:
        sampled = list(engine.step(prefill(0, prompt), released=released).sampled_ids)
        return sampled + [engine.step(decode(0, len(prompt) + i)).sampled_ids[0] for i in range(5)]

    expected = generate(released=())
    engine.step(prefill(0, other), released=(0,))
    engine.step(decode(0, len(other)))
    assert generate(released=(0,)) == expected


def test_the_cache_can_be_filled_to_its_last_block_and_emptied(engine):
    chunk_tokens = engine.info.max_step_tokens
    slots = engine.info.kv_blocks_total * engine.info.kv_block_tokens // chunk_tokens
    blocks = [engine.step(prefill(slot, (1,) * chunk_tokens)).kv_blocks_used for slot in range(slots)]
    assert blocks[-1] == engine.info.kv_blocks_total
    assert engine.refusal(engine.plan(prefill(slots, (1,)))) == RefusalCode.KV_FULL
    engine.open_epoch()
    assert engine.step(prefill(0, (1,) * 5)).kv_blocks_used == 1


def spoiled(**fields: object) -> Chunk:
    return msgspec.structs.replace(decode(0, 3), **fields)


@pytest.mark.parametrize(
    ("chunks", "released", "code"),
    [
        ([decode(0, 4)], (), RefusalCode.POSITION_MISMATCH),
        ([decode(1, 0)], (), RefusalCode.UNKNOWN_SLOT),
        ([], (5,), RefusalCode.UNKNOWN_SLOT),
        ([prefill(0, (1,))], (), RefusalCode.SLOT_IN_USE),
        ([prefill(24, (1,))], (), RefusalCode.SLOT_OUT_OF_RANGE),
        ([prefill(300, (1,))], (), RefusalCode.SLOT_OUT_OF_RANGE),
        ([prefill(-1, (1,))], (), RefusalCode.SLOT_OUT_OF_RANGE),
        ([decode(0, 3), decode(0, 4)], (), RefusalCode.DUPLICATE_SLOT),
        ([spoiled(token_ids=(49152,))], (), RefusalCode.BAD_TOKEN),
        ([spoiled(token_ids=(-1,))], (), RefusalCode.BAD_TOKEN),
        ([prefill(1, (1,) * 513)], (), RefusalCode.TOO_MANY_TOKENS),
        ([prefill(1, (1,), msgspec.structs.replace(GREEDY, min_p=0.5))], (), RefusalCode.UNSUPPORTED),
    ],
)
def test_what_cannot_run_is_refused_by_name_and_a_new_epoch_serves_again(engine, chunks, released, code):
    engine.step(prefill(0, (1, 2, 3)))
    assert engine.refusal(engine.plan(*chunks, released=released)) == code
    assert engine.refusal(engine.plan(decode(0, 3))) == RefusalCode.POISONED_EPOCH
    engine.open_epoch()
    engine.step(prefill(0, (1, 2, 3)))


def test_a_mistake_takes_with_it_every_step_that_was_sent_behind_it(engine):
    plans = [engine.plan(prefill(0, (1, 2, 3))), engine.plan(decode(0, 9)), engine.plan(decode(0, 4))]
    for plan in plans:
        engine.send(plan)
    codes = [None if (refusal := engine.receive().refusal) is None else refusal.code for _ in plans]
    assert codes == [None, RefusalCode.POSITION_MISMATCH, RefusalCode.POISONED_EPOCH]


def test_plans_of_another_boot_or_epoch_are_refused_and_harm_nothing(engine):
    other_boot = StepPlan(engine.boot_id ^ 1, engine.epoch, 1, ())
    assert engine.refusal(other_boot) == RefusalCode.WRONG_BOOT
    assert engine.refusal(StepPlan(engine.boot_id, engine.epoch - 1, 1, ())) == RefusalCode.STALE_EPOCH
    engine.step(prefill(0, (1, 2, 3)))


def test_a_skipped_step_is_refused(engine):
    assert engine.refusal(StepPlan(engine.boot_id, engine.epoch, 2, ())) == RefusalCode.STEP_OUT_OF_ORDER


def test_an_empty_step_and_a_probe_are_answered_and_change_nothing(engine):
    engine.step(prefill(0, (1, 2, 3)))
    assert engine.step().sampled_ids == ()
    assert engine.ask(Probe()).info == engine.info
    assert engine.step(Chunk(0, 3, 1, (4,), sample=False)).sampled_ids == (NO_TOKEN,)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("header", np.array([99, 0, 0, 0, 0])),
        ("header", np.array([1, 77, 0, 0, 0])),
        ("chunks", np.array([[0, 0, 5, 1, 1, -1, -1]], np.int32)),
        ("chunks", np.array([[0, 0, -5, 1, 1, -1, -1]], np.int32)),
        ("token_ids", np.array([1, 2], np.int32)),
        ("sampling_ints", np.zeros((1, 4), np.int64)),
    ],
)
def test_tensors_that_do_not_add_up_are_answered_as_malformed(engine, name, array):
    engine.send_tensors({**encode_request(engine.plan()), name: array})
    refusal = engine.receive().refusal
    assert refusal is not None
    assert refusal.code == RefusalCode.MALFORMED
    assert refusal.message
    engine.open_epoch()


def test_tensors_of_another_type_do_not_get_past_triton(engine):
    engine.send_tensors({**encode_request(OpenEpoch()), "released_slots": np.zeros(1, np.int64)})
    with pytest.raises(InferenceServerException, match="released_slots"):
        engine.receive()
    engine.open_epoch()


@pytest.mark.parametrize("call", ["get_system_shared_memory_status", "get_trace_settings", "get_log_settings"])
def test_shared_memory_tracing_and_logging_are_closed(engine, call):
    with pytest.raises(InferenceServerException, match="restricted"):
        getattr(engine.triton, call)()
