"""The step contract's tensors, number by number: a change here is a change of the contract."""

import msgspec
import numpy as np

from shared.step import Chunk, EngineInfo, Refusal, RefusalCode, Sampling, StepPlan, StepResult
from shared.tensors import decode_request, decode_result, encode_request, encode_result

PLAN = StepPlan(
    boot_id=11,
    epoch=2,
    step=3,
    chunks=(
        Chunk(4, 0, 3, (7, 8, 9), sample=True, sampling=Sampling(seed=5, temperature=0.5, top_p=0.75, top_k=40)),
        Chunk(0, 17, 1, None, sample=True),
        Chunk(1, 16, 2, (3, 4), sample=False, sampling=Sampling(seed=-1), prefix_slot=0),
    ),
    released_slots=(6,),
)
PLAN_TENSORS = {
    "header": [1, 0, 11, 2, 3],
    "chunks": [[4, 0, 3, 1, 1, 0, -1], [0, 17, 1, 0, 1, -1, -1], [1, 16, 2, 1, 0, 1, 0]],
    "token_ids": [7, 8, 9, 3, 4],
    "sampling_ints": [[5, 40, 0, 0], [-1, 0, 0, 0]],
    "sampling_floats": [[0.5, 0.75, 0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]],
    "released_slots": [6],
}
RESULT = StepResult(
    boot_id=11,
    epoch=2,
    step=3,
    duration_s=0.002,
    kv_blocks_used=3,
    sampled_ids=(42, -1),
    refusal=Refusal(RefusalCode.KV_FULL, "full"),
)
RESULT_TENSORS = {
    "result": [1, 11, 2, 3, 2_000_000, 3],
    "sampled_ids": [42, -1],
    "logprob_ids": [[], []],
    "logprobs": [[], []],
    "refusal": list(b'{"code":"kv_full","message":"full"}'),
    "info": [],
}

INFO = EngineInfo(
    executor="llamacpp",
    model="m",
    hardware_class="cpu",
    emulated=False,
    vocab_size=49152,
    max_slots=32,
    max_step_tokens=512,
    max_context_tokens=2048,
    kv_block_tokens=16,
    kv_blocks_total=512,
    lateness_counts=(3, 1),
    copies_prefixes=True,
)
INFO_JSON = (
    b'{"executor":"llamacpp","model":"m","hardware_class":"cpu","emulated":false,"vocab_size":49152,"max_slots":32,'
    b'"max_step_tokens":512,"max_context_tokens":2048,"kv_block_tokens":16,"kv_blocks_total":512,'
    b'"lateness_counts":[3,1],"copies_prefixes":true}'
)
OPENED = StepResult(boot_id=11, epoch=2, step=0, info=INFO)


def info_read(data: bytes) -> EngineInfo | None:
    return decode_result({**encode_result(OPENED), "info": np.frombuffer(data, np.uint8)}).info


def test_a_plan_is_these_numbers():
    assert {name: tensor.tolist() for name, tensor in encode_request(PLAN).items()} == PLAN_TENSORS
    assert decode_request(encode_request(PLAN)) == PLAN


def test_an_answer_is_these_numbers():
    assert {name: tensor.tolist() for name, tensor in encode_result(RESULT).items()} == RESULT_TENSORS
    assert decode_result(encode_result(RESULT)) == RESULT


def test_what_an_engine_says_of_itself_is_these_bytes():
    assert encode_result(OPENED)["info"].tobytes() == INFO_JSON
    assert info_read(INFO_JSON) == INFO


def test_an_engine_from_before_prefixes_were_copied_is_read_as_copying_none():
    older = INFO_JSON.replace(b',"copies_prefixes":true', b"")
    assert older != INFO_JSON
    assert info_read(older) == msgspec.structs.replace(INFO, copies_prefixes=False)


def test_a_field_that_a_later_engine_adds_to_it_is_no_obstacle():
    assert info_read(INFO_JSON[:-1] + b',"later":1}') == INFO
