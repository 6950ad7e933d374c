"""Steps for tests, of an engine whose times follow a simple law."""

import numpy as np

from loadgen.steplog import LoggedStep
from shared.steptime import StepShape


def a_step(number: int, duration_s: float = 0.02) -> LoggedStep:
    """A decode-only step of a batch by which it is known."""
    return LoggedStep(StepShape(batch_size=number + 1, num_tokens=number + 1), duration_s, at_s=0.02 * (number + 1))


def steps_of_an_engine(count: int, *, noise: float = 0.01, seed: int = 0) -> list[LoggedStep]:
    """Decode-only and mixed steps: 10 ms, 0.1 ms a token, 0.1 µs a KV token."""
    rng = np.random.default_rng(seed)
    steps, at_s = [], 0.0
    for _ in range(count):
        decodes, chunk = int(rng.integers(1, 32)), int(rng.integers(2, 256)) * int(rng.random() < 0.4)
        tokens, kv_tokens = decodes + chunk, decodes * int(rng.integers(100, 1000))
        shape = StepShape(decodes + (chunk > 0), tokens, kv_tokens, chunk * chunk / 2, int(chunk > 0))
        duration_s = (0.01 + 1e-4 * tokens + 1e-7 * kv_tokens) * float(np.exp(noise * rng.standard_normal()))
        at_s += duration_s
        steps.append(LoggedStep(shape, duration_s, at_s))
    return steps
