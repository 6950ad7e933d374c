"""Engines as a router might see them."""

import math

import msgspec

from services.prism.fleet import EngineView
from shared.engine_state import EngineState
from shared.forecast import ModelHealth
from shared.steptime import Residuals, StepModel
from tests.step_models import step_model as law

MODEL = "tiny"


def step_model(*, base_s: float = 0.01, per_token_s: float = 5e-5, upper_ratio: float = 1.2) -> StepModel:
    """A plausible engine."""
    noise = Residuals(deviation=math.log(upper_ratio), upper=1.0)
    return law(
        base=base_s,
        per_sequence=1e-4,
        per_token=per_token_s,
        per_kv_token=1e-7,
        per_attention_work=1e-9,
        floor_s=base_s,
        decode_residuals=noise,
        mixed_residuals=noise,
    )


def state(name: str, **changes: object) -> EngineState:
    """An idle engine unless `changes` say otherwise."""
    state = EngineState(
        engine=name,
        url=f"http://127.0.0.1:1/{name}",
        model=MODEL,
        executor="emulated",
        hardware_class="A100",
        emulated=True,
        announced_at_s=0.0,
        max_context_tokens=4096,
        max_running=64,
        step_tokens=2048,
        step_target_ms=50.0,
        kv_blocks_total=4096,
        kv_block_tokens=16,
        kv_blocks_free=4096,
    )
    return msgspec.structs.replace(state, **changes)


def engine(
    name: str,
    *,
    model: StepModel | None = None,
    health: ModelHealth = ModelHealth.HEALTHY,
    forecast_age_s: float = 0.0,
    state_age_s: float = 0.0,
    **changes: object,
) -> EngineView:
    """A healthy idle engine with fresh news of it unless told otherwise, at the time 0."""
    return EngineView(
        state=state(name, announced_at_s=-state_age_s, **changes),
        model=model or step_model(),
        health=health,
        forecast_written_at_s=-forecast_age_s,
    )
