"""Whatever is written is read the same; whatever is read is either a message or an error that says what is wrong."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.step import (
    Chunk,
    EngineInfo,
    OpenEpoch,
    Probe,
    Refusal,
    RefusalCode,
    Sampling,
    StepPlan,
    StepResult,
)
from shared.telemetry import IdleReport, Outcome, RequestReport, StepReport, Telemetry
from shared.tensors import (
    INPUTS,
    MalformedTensorsError,
    decode_request,
    decode_result,
    encode_request,
    encode_result,
)
from shared.wire import UnreadableMessage, decode, encode

int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
float32 = st.floats(width=32, allow_nan=False)
samplings = st.builds(
    Sampling,
    seed=int64,
    temperature=float32,
    top_p=float32,
    top_k=int64,
    first_draw=int64,
    min_p=float32,
    repetition_penalty=float32,
    presence_penalty=float32,
    frequency_penalty=float32,
    num_logprobs=int64,
)
prefills = st.lists(int32, min_size=1, max_size=20).flatmap(
    lambda ids: st.builds(
        Chunk, int32, int32, st.just(len(ids)), st.just(tuple(ids)), st.booleans(), st.none() | samplings, int32
    )
)
decodes = st.builds(Chunk, int32, int32, st.just(1), st.none(), st.booleans(), st.none() | samplings, int32)
plans = st.builds(
    StepPlan,
    int64,
    int64,
    int64,
    st.lists(prefills | decodes, max_size=6).map(tuple),
    st.lists(int32, max_size=6).map(tuple),
)
results = st.builds(
    StepResult,
    boot_id=int64,
    epoch=int64,
    step=int64,
    duration_s=st.integers(0, 10**12).map(lambda ns: ns / 1e9),
    kv_blocks_used=int64,
    sampled_ids=st.lists(int32).map(tuple),
    refusal=st.none() | st.builds(Refusal, st.sampled_from(RefusalCode), st.text()),
    info=st.none() | st.builds(EngineInfo),
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
reports = st.one_of(
    st.builds(
        StepReport,
        **{
            field: numbers if field.endswith(("_ms", "_s", "work")) else int64 for field in StepReport.__struct_fields__
        },
    ),
    st.builds(IdleReport, idle_s=numbers),
    st.builds(RequestReport, outcome=st.sampled_from(Outcome), e2e_ms=numbers, ttft_ms=st.none() | numbers),
)


@given(plans | st.builds(OpenEpoch) | st.builds(Probe))
def test_a_request_is_read_as_it_was_written(request_):
    assert decode_request(encode_request(request_)) == request_


@given(results)
def test_a_result_is_read_as_it_was_written(result):
    assert decode_result(encode_result(result)) == result


@given(st.builds(Telemetry, engine=st.text(), lens=st.text(), sequence=int64, reports=st.lists(reports).map(tuple)))
def test_telemetry_is_read_as_it_was_written(telemetry):
    assert decode(encode(telemetry), Telemetry) == telemetry


@given(st.binary(max_size=200))
def test_any_bytes_are_telemetry_or_an_error_that_says_why(data):
    with pytest.raises(UnreadableMessage, match="Telemetry"):
        decode(data, Telemetry)


@given(plans, st.data())
def test_tensors_with_a_wrong_number_are_a_plan_or_an_error_never_a_crash(plan, data):
    tensors = dict(encode_request(plan))
    name = data.draw(st.sampled_from([spec.name for spec in INPUTS]))
    if tensors[name].size:
        flat = tensors[name].copy().reshape(-1)
        flat[data.draw(st.integers(0, flat.size - 1))] = data.draw(st.integers(-5, 5))
        tensors[name] = flat.reshape(tensors[name].shape)
    with contextlib.suppress(MalformedTensorsError):
        assert isinstance(decode_request(tensors), StepPlan | OpenEpoch | Probe)


@given(plans, st.sampled_from(INPUTS), st.sampled_from(["missing", "type", "shape"]))
def test_a_tensor_that_does_not_fit_is_named(plan, spec, mistake):
    tensors = dict(encode_request(plan))
    match mistake:
        case "missing":
            del tensors[spec.name]
        case "type":
            tensors[spec.name] = tensors[spec.name].astype(np.float64)
        case "shape":
            tensors[spec.name] = tensors[spec.name][None]
    with pytest.raises(MalformedTensorsError, match=spec.name):
        decode_request(tensors)
