"""The step contract as Triton tensors: names, types, shapes, and both directions of the codec.

Integers of a plan travel as one table with a row per chunk, so that a step of 256 sequences costs a handful of tensors
and no Python per token. Every message carries the schema version; a reader accepts its own and the one before.
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.step import (
    NO_TOKEN,
    Chunk,
    EngineInfo,
    EngineRequest,
    OpenEpoch,
    Probe,
    Refusal,
    Sampling,
    StepPlan,
    StepResult,
)

SCHEMA_VERSION = 1
OLDEST_READABLE_VERSION = 1

Array = NDArray[np.int64] | NDArray[np.int32] | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]
Tensors = Mapping[str, Array]


class TensorSpec(NamedTuple):
    """One tensor of the contract; `shape` as config.pbtxt has it, −1 for a length that varies."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]


class MalformedTensorsError(ValueError):
    """Tensors that are not a message of this contract; says which and why."""


class _Kind(IntEnum):
    STEP = 0
    OPEN_EPOCH = 1
    PROBE = 2


HEADER_COLUMNS = ("schema_version", "kind", "boot_id", "epoch", "step")
CHUNK_COLUMNS = ("slot", "first_position", "num_tokens", "tokens_given", "sample", "sampling_row", "prefix_slot")
SAMPLING_INT_COLUMNS = ("seed", "top_k", "first_draw", "num_logprobs")
SAMPLING_FLOAT_COLUMNS = (
    "temperature",
    "top_p",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
)
RESULT_COLUMNS = ("schema_version", "boot_id", "epoch", "step", "duration_ns", "kv_blocks_used")

NO_ROW = -1

_INT64, _INT32 = np.dtype(np.int64), np.dtype(np.int32)
_FLOAT32, _UINT8 = np.dtype(np.float32), np.dtype(np.uint8)

INPUTS = (
    TensorSpec("header", _INT64, (len(HEADER_COLUMNS),)),
    TensorSpec("chunks", _INT32, (-1, len(CHUNK_COLUMNS))),
    TensorSpec("token_ids", _INT32, (-1,)),
    TensorSpec("sampling_ints", _INT64, (-1, len(SAMPLING_INT_COLUMNS))),
    TensorSpec("sampling_floats", _FLOAT32, (-1, len(SAMPLING_FLOAT_COLUMNS))),
    TensorSpec("released_slots", _INT32, (-1,)),
)
OUTPUTS = (
    TensorSpec("result", _INT64, (len(RESULT_COLUMNS),)),
    TensorSpec("sampled_ids", _INT32, (-1,)),
    TensorSpec("logprob_ids", _INT32, (-1, -1)),
    TensorSpec("logprobs", _FLOAT32, (-1, -1)),
    TensorSpec("refusal", _UINT8, (-1,)),
    TensorSpec("info", _UINT8, (-1,)),
)
"""`logprob_ids` and `logprobs` have a row per chunk and a column per alternative (none unless asked for); `refusal` and
`info` are UTF-8 JSON, empty where there is none."""


def encode_request(request: EngineRequest) -> dict[str, Array]:
    """The input tensors of one engine request."""
    match request:
        case StepPlan():
            return _encode_plan(request)
        case OpenEpoch():
            return _encode_plan(StepPlan(0, 0, 0, ()), _Kind.OPEN_EPOCH)
        case Probe():
            return _encode_plan(StepPlan(0, 0, 0, ()), _Kind.PROBE)


def _encode_plan(plan: StepPlan, kind: _Kind = _Kind.STEP) -> dict[str, Array]:
    rows: list[tuple[int, ...]] = []
    token_ids: list[int] = []
    samplings: list[Sampling] = []
    for chunk in plan.chunks:
        sampling_row = NO_ROW
        if chunk.sampling is not None:
            sampling_row = len(samplings)
            samplings.append(chunk.sampling)
        if chunk.token_ids is not None:
            token_ids.extend(chunk.token_ids)
        rows.append(
            (
                chunk.slot,
                chunk.first_position,
                chunk.num_tokens,
                chunk.token_ids is not None,
                chunk.sample,
                sampling_row,
                chunk.prefix_slot,
            )
        )
    ints = [tuple(getattr(s, column) for column in SAMPLING_INT_COLUMNS) for s in samplings]
    floats = [tuple(getattr(s, column) for column in SAMPLING_FLOAT_COLUMNS) for s in samplings]
    return {
        "header": np.array((SCHEMA_VERSION, kind, plan.boot_id, plan.epoch, plan.step), np.int64),
        "chunks": np.array(rows, np.int32).reshape(-1, len(CHUNK_COLUMNS)),
        "token_ids": np.array(token_ids, np.int32),
        "sampling_ints": np.array(ints, np.int64).reshape(-1, len(SAMPLING_INT_COLUMNS)),
        "sampling_floats": np.array(floats, np.float32).reshape(-1, len(SAMPLING_FLOAT_COLUMNS)),
        "released_slots": np.array(plan.released_slots, np.int32),
    }


def decode_request(tensors: Tensors) -> EngineRequest:
    """The engine request that these tensors say.

    Raises:
        MalformedTensorsError: a tensor is missing or of another type or shape, the version is not readable, or the rows
            do not add up.
    """
    _check_specs(tensors, INPUTS)
    header = tensors["header"].tolist()
    _check_version(header[0])
    try:
        kind = _Kind(header[1])
    except ValueError:
        raise MalformedTensorsError(f"header: unknown kind {header[1]}") from None
    match kind:
        case _Kind.OPEN_EPOCH:
            return OpenEpoch()
        case _Kind.PROBE:
            return Probe()
        case _Kind.STEP:
            _, _, boot_id, epoch, step = header
            return StepPlan(boot_id, epoch, step, _decode_chunks(tensors), tuple(tensors["released_slots"].tolist()))


def _decode_chunks(tensors: Tensors) -> tuple[Chunk, ...]:
    token_ids = tensors["token_ids"].tolist()
    samplings = _decode_samplings(tensors)
    samplings_used = 0
    tokens_used = 0
    chunks = []
    for row in tensors["chunks"].tolist():
        slot, first_position, num_tokens, tokens_given, sample, sampling_row, prefix_slot = row
        if num_tokens < 1:
            raise MalformedTensorsError(f"chunks: slot {slot} has {num_tokens} tokens")
        sampling = None
        if sampling_row != NO_ROW:
            if sampling_row != samplings_used or samplings_used == len(samplings):
                raise MalformedTensorsError(f"chunks: slot {slot} names sampling row {sampling_row}")
            sampling = samplings[samplings_used]
            samplings_used += 1
        given = None
        if tokens_given:
            given = tuple(token_ids[tokens_used : tokens_used + num_tokens])
            tokens_used += num_tokens
        elif num_tokens != 1:
            raise MalformedTensorsError(f"chunks: slot {slot} runs {num_tokens} tokens but gives none")
        chunks.append(Chunk(slot, first_position, num_tokens, given, bool(sample), sampling, prefix_slot))
    if tokens_used != len(token_ids):
        raise MalformedTensorsError(f"token_ids: {len(token_ids)} tokens for chunks that need {tokens_used}")
    if samplings_used != len(samplings):
        raise MalformedTensorsError(f"sampling_ints: {len(samplings)} rows for {samplings_used} first chunks")
    return tuple(chunks)


def _decode_samplings(tensors: Tensors) -> list[Sampling]:
    ints, floats = tensors["sampling_ints"].tolist(), tensors["sampling_floats"].tolist()
    if len(ints) != len(floats):
        raise MalformedTensorsError(f"sampling_floats: {len(floats)} rows beside {len(ints)} of sampling_ints")
    names = SAMPLING_INT_COLUMNS + SAMPLING_FLOAT_COLUMNS
    return [Sampling(**dict(zip(names, i + f, strict=True))) for i, f in zip(ints, floats, strict=True)]


def encode_result(result: StepResult) -> dict[str, Array]:
    """The output tensors of one answer."""
    num_chunks = len(result.sampled_ids)
    header = (
        SCHEMA_VERSION,
        result.boot_id,
        result.epoch,
        result.step,
        round(result.duration_s * 1e9),
        result.kv_blocks_used,
    )
    return {
        "result": np.array(header, np.int64),
        "sampled_ids": np.array(result.sampled_ids, np.int32),
        "logprob_ids": np.full((num_chunks, 0), NO_TOKEN, np.int32),
        "logprobs": np.zeros((num_chunks, 0), np.float32),
        "refusal": _encode_json(result.refusal),
        "info": _encode_json(result.info),
    }


def decode_result(tensors: Tensors) -> StepResult:
    """The answer that these tensors say; tensors added by a later engine are ignored.

    Raises:
        MalformedTensorsError: as `decode_request`.
    """
    _check_specs(tensors, OUTPUTS)
    version, boot_id, epoch, step, duration_ns, kv_blocks_used = tensors["result"].tolist()
    _check_version(version)
    try:
        refusal, info = tensors["refusal"], tensors["info"]
        return StepResult(
            boot_id=boot_id,
            epoch=epoch,
            step=step,
            duration_s=duration_ns / 1e9,
            kv_blocks_used=kv_blocks_used,
            sampled_ids=tuple(tensors["sampled_ids"].tolist()),
            refusal=msgspec.json.decode(refusal.tobytes(), type=Refusal) if refusal.size else None,
            info=msgspec.json.decode(info.tobytes(), type=EngineInfo) if info.size else None,
        )
    except msgspec.MsgspecError as error:
        raise MalformedTensorsError(f"refusal or info: {error}") from error


def _encode_json(value: Refusal | EngineInfo | None) -> NDArray[np.uint8]:
    return np.frombuffer(b"" if value is None else msgspec.json.encode(value), np.uint8)


def _check_version(version: int) -> None:
    if not OLDEST_READABLE_VERSION <= version <= SCHEMA_VERSION:
        raise MalformedTensorsError(
            f"header: schema version {version}; this reader has {OLDEST_READABLE_VERSION}…{SCHEMA_VERSION}"
        )


def _check_specs(tensors: Tensors, specs: tuple[TensorSpec, ...]) -> None:
    for spec in specs:
        tensor = tensors.get(spec.name)
        if tensor is None:
            raise MalformedTensorsError(f"{spec.name}: missing")
        if tensor.dtype != spec.dtype:
            raise MalformedTensorsError(f"{spec.name}: {tensor.dtype} instead of {spec.dtype}")
        fits = len(tensor.shape) == len(spec.shape) and all(
            want in (-1, have) for want, have in zip(spec.shape, tensor.shape, strict=True)
        )
        if not fits:
            raise MalformedTensorsError(f"{spec.name}: shape {tensor.shape} instead of {spec.shape}")
