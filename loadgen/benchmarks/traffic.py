"""Step reports as engines of a busy fleet send them: batches that grow and shrink, prefill in half of the steps, noise."""

import math
from collections.abc import Iterator
from random import Random

from shared.telemetry import StepReport

MOST_DECODES = 48
CHUNKS_TOKENS = (0, 0, 0, 32, 128, 384)


def steps(engine: int) -> Iterator[StepReport]:
    """The steps of one engine, for ever; the same for the same number."""
    chance = Random(engine)  # noqa: S311 - traffic, not secrets
    speed = chance.uniform(0.5, 2.0)
    decodes, number, start_s = chance.randint(1, MOST_DECODES), 0, 0.0
    while True:
        number += 1
        decodes = min(max(decodes + chance.choice((-1, 0, 0, 1)), 1), MOST_DECODES)
        chunk = chance.choice(CHUNKS_TOKENS)
        kv_tokens = decodes * chance.randint(200, 900)
        attention_work = chunk * chunk / 2
        expected_ms = speed * (4.0 + 0.04 * decodes + 0.015 * chunk + 5e-5 * kv_tokens + 1e-6 * attention_work)
        duration_ms = expected_ms * math.exp(chance.gauss(0, 0.04))
        yield StepReport(
            step=number,
            start_s=round(start_s, 6),
            batch_size=decodes + (chunk > 0),
            prefill_seqs=int(chunk > 0),
            prefill_tokens=chunk,
            decode_tokens=decodes,
            kv_tokens=kv_tokens,
            attention_work=attention_work,
            planned_ms=30.0,
            predicted_ms=round(expected_ms, 4),
            duration_ms=round(duration_ms, 4),
            wall_ms=round(duration_ms + 0.05, 4),
        )
        start_s += duration_ms / 1e3
