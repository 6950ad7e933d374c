"""The engine as lens announces it."""

import time
from collections.abc import Collection

from services.lens.announced import announced
from services.lens.frontend import Frontend
from services.lens.loop import StepLoop
from services.lens.plan import PlanLimits
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
    info = loop.scheduler.info
    limits = PlanLimits(info.max_step_tokens, settings.least_prefill_tokens, settings.step_target_ms / 1e3)
    return announced(
        loop.scheduler,
        limits,
        engine=settings.engine,
        url=settings.url,
        serving=loop.serving.is_set(),
        draining=frontend.draining,
        admitted=frontend.admitted,
        now_s=time.monotonic(),
    )


def prefixes(loop: StepLoop) -> Collection[str]:
    """The blocks of text that the engine's cache holds; none before its first answer."""
    return frozenset() if loop.scheduler is None else loop.scheduler.text_blocks.held
