"""Telemetry of an engine with a known law of step time, for the forecaster's tests."""

import random

from services.forecaster.engine_model import EngineModel
from shared.steptime import StepShape
from shared.telemetry import StepReport


def law(shape: StepShape) -> float:
    """Seconds that the engine takes, without noise: weights, sequences, tokens, context, attention, and a prefill's launch."""
    seqs, tokens, kv_tokens, attention_work, prefill_seqs = map(float, shape)
    prefill = 0.002 if prefill_seqs else 0.0
    return 0.009 + 1e-4 * seqs + 5e-5 * tokens + 1e-7 * kv_tokens + 1e-9 * attention_work + prefill


def decode_step(step: int, *, batch_size: int, kv_tokens: int = 1000, duration_ms: float = 10.0) -> StepReport:
    """A step that only decodes."""
    return StepReport(
        step=step,
        start_s=step / 100,
        batch_size=batch_size,
        prefill_seqs=0,
        prefill_tokens=0,
        decode_tokens=batch_size,
        kv_tokens=kv_tokens,
        attention_work=0.0,
        planned_ms=50.0,
        predicted_ms=duration_ms,
        duration_ms=duration_ms,
        wall_ms=duration_ms,
    )


def mixed_step(step: int, *, noise: float = 0.0) -> StepReport:
    """A step of a random batch, the same for the same number: decodes, and in half of the steps a prefill chunk."""
    chance = random.Random(step)
    decodes, chunk = chance.randint(1, 32), chance.choice((0, 0, 64, 256, 512))
    shape = StepShape(
        decodes + (chunk > 0), decodes + chunk, decodes * chance.randint(50, 2000), chunk**2 / 2, chunk > 0
    )
    expected_ms = 1e3 * law(shape)
    duration_ms = expected_ms * (1 + chance.gauss(0, noise))
    return StepReport(
        step=step,
        start_s=step / 100,
        batch_size=decodes + (chunk > 0),
        prefill_seqs=int(chunk > 0),
        prefill_tokens=chunk,
        decode_tokens=decodes,
        kv_tokens=int(shape.kv_tokens),
        attention_work=chunk**2 / 2,
        planned_ms=50.0,
        predicted_ms=expected_ms,
        duration_ms=duration_ms,
        wall_ms=duration_ms,
    )


def trained(engine: str, num_steps: int, *, noise: float = 0.0) -> EngineModel:
    """A model that has learned steps 0 to `num_steps` − 1."""
    model = EngineModel(engine)
    for step in range(num_steps):
        model.observe(mixed_step(step, noise=noise))
    return model
