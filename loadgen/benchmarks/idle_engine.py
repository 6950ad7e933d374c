"""What an engine of prism's benchmarks announces."""

from typing import Any

import msgspec

from shared.engine_state import EngineState


def idle_engine(engine: str, url: str, model: str, **changes: Any) -> EngineState:
    """One with room for thousands of requests, none of them there unless `changes` say otherwise."""
    state = EngineState(
        engine=engine,
        url=url,
        model=model,
        executor="emulated",
        hardware_class="A100",
        emulated=True,
        announced_at_s=0.0,
        max_context_tokens=32_768,
        max_running=10_000,
        step_tokens=8192,
        step_target_ms=50.0,
        kv_blocks_total=10**7,
        kv_block_tokens=16,
        kv_blocks_free=10**7,
    )
    return msgspec.structs.replace(state, **changes)
