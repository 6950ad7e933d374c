"""The engine as routers are told of it, from what its scheduler holds. Pure."""

from collections.abc import Mapping

from services.lens.plan import PlanLimits
from services.lens.scheduler import Scheduler
from shared.engine_state import EngineState

LEAST_ANNOUNCE_S = 0.1
MOST_ANNOUNCE_S = 1.0
"""A state is announced when it has changed, no oftener than the one, and in any case as often as the other."""


def announced(  # noqa: PLR0913 - what the scheduler does not know of itself
    scheduler: Scheduler,
    limits: PlanLimits,
    *,
    engine: str,
    url: str,
    serving: bool,
    draining: bool,
    admitted: Mapping[str, int],
    now_s: float,
    at_s: float = 0.0,
) -> EngineState:
    """The engine's state.

    Args:
        serving: whether the engine behind lens is there.
        admitted: the highest dispatch number admitted, by router replica.
        now_s: on the clock of the scheduler.
        at_s: when it is announced, on the clock that its readers judge its age by.
    """
    info, load = scheduler.info, scheduler.load(now_s)
    return EngineState(
        engine=engine,
        url=url,
        model=info.model,
        executor=info.executor,
        hardware_class=info.hardware_class,
        emulated=info.emulated,
        announced_at_s=at_s,
        draining=draining,
        serving=serving,
        max_context_tokens=info.max_context_tokens,
        max_running=info.max_slots,
        step_tokens=info.max_step_tokens,
        least_prefill_tokens=limits.least_prefill_tokens,
        step_target_ms=round(min(limits.target_s, load.pace_s) * 1e3, 3),
        kv_blocks_total=info.kv_blocks_total,
        kv_block_tokens=info.kv_block_tokens,
        kv_blocks_free=load.kv_blocks_free,
        decode_seqs=load.decode_seqs,
        prefill_seqs=load.prefill_seqs,
        kv_tokens=load.kv_tokens,
        waiting_requests=load.waiting_requests,
        waiting_prefill_tokens=load.waiting_prefill_tokens,
        prefill_tokens_by_due=load.prefill_tokens_by_due,
        prefills_by_due=load.prefills_by_due,
        arriving_tokens_per_s=tuple([round(rate, 1) for rate in load.arriving_tokens_per_s]),
        arriving_per_s=round(load.arriving_per_s, 3),
        credit_ms=round(load.credit_s * 1e3, 3),
        in_flight_ms=round(load.in_flight_s * 1e3, 3),
        admitted=dict(admitted),
        lateness_counts=info.lateness_counts,
        prefix_epoch=scheduler.prefix_epoch,
        prefix_serial=scheduler.text_blocks.serial,
        prefix_blocks=len(scheduler.text_blocks.held),
        prefix_changes=scheduler.text_blocks.changes,
    )
