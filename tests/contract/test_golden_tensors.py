"""The step contract's tensors, number by number: a change here is a change of the contract."""

from shared.step import Chunk, Refusal, RefusalCode, Sampling, StepPlan, StepResult
from shared.tensors import decode_request, decode_result, encode_request, encode_result

PLAN = StepPlan(
    boot_id=11,
    epoch=2,
    step=3,
    chunks=(
        Chunk(4, 0, 3, (7, 8, 9), sample=True, sampling=Sampling(seed=5, temperature=0.5, top_p=0.75, top_k=40)),
        Chunk(0, 17, 1, None, sample=True),
    ),
    released_slots=(6,),
)
PLAN_TENSORS = {
    "header": [1, 0, 11, 2, 3],
    "chunks": [[4, 0, 3, 1, 1, 0, -1], [0, 17, 1, 0, 1, -1, -1]],
    "token_ids": [7, 8, 9],
    "sampling_ints": [[5, 40, 0, 0]],
    "sampling_floats": [[0.5, 0.75, 0.0, 1.0, 0.0, 0.0]],
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


def test_a_plan_is_these_numbers():
    assert {name: tensor.tolist() for name, tensor in encode_request(PLAN).items()} == PLAN_TENSORS
    assert decode_request(encode_request(PLAN)) == PLAN


def test_an_answer_is_these_numbers():
    assert {name: tensor.tolist() for name, tensor in encode_result(RESULT).items()} == RESULT_TENSORS
    assert decode_result(encode_result(RESULT)) == RESULT
