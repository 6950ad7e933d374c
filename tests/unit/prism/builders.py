"""Engines as a router might see them."""

import math
from typing import Any

import msgspec

from services.prism.account import Account
from services.prism.fleet import EngineView
from services.prism.intake import Intake
from services.prism.pending import Pending
from services.prism.policy import Reason
from services.prism.prompt_size import Ask
from services.prism.route import Route
from services.prism.stream_end import Ending
from shared.engine_state import DUE_INTERVALS, EngineState
from shared.forecast import ModelHealth
from shared.slo import Slo
from shared.standing import Standing
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


LAST_INTERVAL = DUE_INTERVALS - 1


def by_due(*numbers: int, interval: int = LAST_INTERVAL) -> tuple[int, ...]:
    """Numbers from this interval of `DUE_EDGES_S` on, nothing in the others."""
    return ((0,) * interval + numbers + (0,) * DUE_INTERVALS)[:DUE_INTERVALS]


def waiting(requests: int, tokens: int, interval: int = 0) -> dict[str, Any]:
    """Of a state: prompts that wait, all due in one interval."""
    return {
        "waiting_requests": requests,
        "waiting_prefill_tokens": tokens,
        "prefills_by_due": by_due(requests, interval=interval),
        "prefill_tokens_by_due": by_due(tokens, interval=interval),
    }


def pending(requests: int, tokens: int, interval: int = LAST_INTERVAL) -> Pending:
    """On their way, all due in one interval: at no particular time unless told otherwise."""
    return Pending(by_due(requests, interval=interval), by_due(tokens, interval=interval))


PROMISED = Slo(name="interactive", ttft_s=1.0, tpot_s=0.1)
LIKELY = Route(
    engine="a",
    url="",
    reason=Reason.LEAST_PREDICTED,
    predicted_ttft_s=0.5,
    predicted_tpot_s=0.05,
    p_met=0.9,
    best_other_p_met=0.8,
    state_age_s=0.02,
)


def account(slo: Slo = PROMISED, **changes: Any) -> Account:
    """What became of a request: a stream of 11 tokens, the first after a second, the last after two; unless told otherwise."""
    intake = Intake(
        path="",
        body=b"",
        headers={},
        model="m",
        stream=True,
        ask=Ask(prompt_tokens=1, output_tokens=1),
        slo=slo,
        standing=Standing(tenant="acme"),
        arrived_at_s=0.0,
    )
    fields: dict[str, Any] = {
        "intake": intake,
        "route": LIKELY,
        "tries": 1,
        "route_s": 0.001,
        "sent_s": 0.002,
        "first_byte_s": 1.0,
        "is_stream": True,
        "ended_s": 2.0,
        "ending": Ending(11, "stop"),
        "status": 200,
    }
    return Account(request_id="r", **{**fields, **changes})
