"""The engine as lens announces it."""

from services.lens.frontend import Frontend
from services.lens.loop import StepLoop
from services.lens.settings import LensSettings
from shared.engine_state import EngineState


def engine_kind(loop: StepLoop) -> str:
    """What makes engines alike: hardware class and model; empty before the engine's first answer."""
    if loop.scheduler is None:
        return ""
    return f"{loop.scheduler.info.hardware_class} {loop.scheduler.info.model}"


def engine_state(settings: LensSettings, loop: StepLoop, frontend: Frontend) -> EngineState | None:
    """The engine now; None before its first answer. Redis puts the time to it."""
    if loop.scheduler is None:
        return None
    info, load = loop.scheduler.info, loop.scheduler.load
    return EngineState(
        engine=settings.engine,
        url=settings.url,
        model=info.model,
        executor=info.executor,
        hardware_class=info.hardware_class,
        emulated=info.emulated,
        announced_at_s=0.0,
        draining=frontend.draining,
        serving=loop.serving.is_set(),
        max_context_tokens=info.max_context_tokens,
        max_running=info.max_slots,
        step_tokens=info.max_step_tokens,
        least_prefill_tokens=settings.least_prefill_tokens,
        step_target_ms=settings.step_target_ms,
        kv_blocks_total=info.kv_blocks_total,
        kv_block_tokens=info.kv_block_tokens,
        kv_blocks_free=load.kv_blocks_free,
        decode_seqs=load.decode_seqs,
        prefill_seqs=load.prefill_seqs,
        kv_tokens=load.kv_tokens,
        waiting_requests=load.waiting_requests,
        waiting_prefill_tokens=load.waiting_prefill_tokens,
        in_flight_ms=round(load.in_flight_s * 1e3, 3),
        admitted=dict(frontend.admitted),
    )
