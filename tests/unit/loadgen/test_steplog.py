from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from loadgen.steplog import BadStepLog, parse_step, read_steps, stack_shapes
from shared.steptime import StepShape


def a_row(**fields: Any) -> bytes:
    """Two decodes and two prefill chunks in 40 ms from second 100, unless told otherwise."""
    row: dict[str, Any] = {
        "batch_id": 7,
        "timestamp": 100.0,
        "chunk_sizes": [1, 1, 10, 4],
        "all_computed_tokens": [500, 300, 20, 0],
        "model_run_duration_ms": 40.0,
    }
    return msgspec.json.encode({**row, **fields})


def test_a_row_is_a_batch_its_duration_and_its_end() -> None:
    step = parse_step(a_row())
    assert step is not None
    assert (step.duration_s, step.at_s) == pytest.approx((0.04, 100.04))
    assert step.shape == StepShape(
        batch_size=4, num_tokens=16, kv_tokens=820, attention_work=10 * (20 + 5.0) + 4 * 2.0, prefill_seqs=2
    )


def test_a_step_of_single_tokens_is_decode_only() -> None:
    step = parse_step(a_row(chunk_sizes=[1, 1], all_computed_tokens=[9, 0]))
    assert step is not None
    assert (step.shape.prefill_seqs, step.shape.attention_work) == (0, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"model_run_duration_ms": None},
        {"model_run_duration_ms": 0.0},
        {"model_run_duration_ms": 1000.1},
        {"chunk_sizes": [], "all_computed_tokens": []},
    ],
)
def test_what_is_no_step_at_work_is_left_out(fields: dict[str, Any], tmp_path: Path) -> None:
    assert parse_step(a_row(**fields)) is None
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"\n".join([a_row(**fields), a_row(model_run_duration_ms=1000.0), b""]))
    assert [step.duration_s for step in read_steps(log)] == [1.0]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"timestamp": 1.0', "truncated"),
        (b'{"timestamp": 1.0, "all_computed_tokens": []}', "chunk_sizes"),
        (a_row(chunk_sizes=[1]), "1 chunk_sizes, but 4 all_computed_tokens"),
        (a_row(chunk_sizes=[1, 1, 10, 0]), r"chunk_sizes\[3\]"),
        (a_row(model_run_duration_ms=-1.0), "model_run_duration_ms"),
    ],
)
def test_a_broken_line_is_named_with_its_file(line: bytes, problem: str, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(a_row() + b"\n\n" + line)
    with pytest.raises(BadStepLog, match=problem) as raised:
        read_steps(log)
    assert (raised.value.path, raised.value.line) == (log, 3)
    assert str(raised.value).startswith(f"{log}, line 3: ")


def test_a_log_without_steps_and_one_that_is_not_there_are_named(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(BadStepLog, match=r"empty\.jsonl: no step"):
        read_steps(empty)
    with pytest.raises(BadStepLog, match=r"absent\.jsonl: No such file"):
        read_steps(tmp_path / "absent.jsonl")


def test_shapes_stack_field_by_field() -> None:
    steps = [parse_step(a_row()), parse_step(a_row(chunk_sizes=[1], all_computed_tokens=[5]))]
    stacked = stack_shapes([step for step in steps if step is not None])
    assert np.array(stacked).tolist() == [[4, 1], [16, 1], [820, 5], [258, 0], [2, 0]]
