import math

import msgspec
import pytest

from services.forecaster.plausible import problem_of
from tests.unit.forecaster.telemetry import decode_step, mixed_step


def test_steps_that_engines_run_are_plausible():
    assert [problem_of(mixed_step(number)) for number in range(200)] == [None] * 200
    assert problem_of(decode_step(1, batch_size=1, kv_tokens=0)) is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"duration_ms": 0.0}, "duration_ms is 0.0"),
        ({"duration_ms": -5.0}, "duration_ms is -5.0"),
        ({"duration_ms": math.nan}, "duration_ms is nan"),
        ({"duration_ms": math.inf}, "duration_ms is inf"),
        ({"duration_ms": 1e300}, "duration_ms is"),
        ({"duration_ms": 1e-300}, "duration_ms is 1e-300"),
        ({"decode_tokens": 10**9}, "decode_tokens is 1000000000"),
        ({"kv_tokens": -1}, "kv_tokens is -1"),
        ({"kv_tokens": 2**64 - 1}, "kv_tokens is"),
        ({"attention_work": math.nan}, "attention_work is nan"),
        ({"decode_tokens": -4}, "decode_tokens is -4"),
        ({"batch_size": 0}, "batch_size is 0 with 4 tokens"),
        ({"batch_size": 9}, "batch_size is 9 with 4 tokens"),
        ({"prefill_seqs": 3}, "prefill_seqs is 3"),
        ({"prefill_tokens": 64}, "prefill_tokens is 64"),
        ({"attention_work": 9.0}, "attention_work 9.0 without a prefill"),
    ],
)
def test_what_no_engine_could_have_sent_is_named(changes, problem):
    report = msgspec.structs.replace(decode_step(0, batch_size=4), **changes)
    assert problem in (problem_of(report) or "")
