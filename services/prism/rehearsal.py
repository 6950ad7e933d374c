"""A decision for nobody, so that no request waits while what decides is compiled: seconds, once after each installation. Pure."""

from services.prism.calibration import Calibration
from services.prism.dispatches import Load
from services.prism.fleet import EngineView, Fleet, Pool
from services.prism.pending import Pending
from services.prism.prompt_size import Ask
from services.prism.route import Route, choose
from shared.engine_state import EngineState
from shared.forecast import ModelHealth
from shared.slo import Slo


def rehearse() -> Route:
    """Choose between two engines that are not there, by our policy and with all that it may look at."""
    views = [EngineView(state=_state(name), health=ModelHealth.HEALTHY) for name in ("one", "other")]
    loads = {"one": Load(pending=Pending.of([(0, 1)]))}
    fleet = Fleet(pool=Pool.of(views), now_s=1.0, age_s=0.0)
    ask, slo = Ask(prompt_tokens=1, output_tokens=2), Slo(ttft_s=10.0, tpot_s=1.0, e2e_s=20.0)
    calibration = Calibration()
    calibration.note("one", 1.0, 1.0, 1.0, 1.0)
    return choose(fleet, loads, ask, slo, model="", draw=0.5, calibration=calibration)


def _state(name: str) -> EngineState:
    return EngineState(
        engine=name,
        url="",
        model="",
        executor="",
        hardware_class="",
        emulated=False,
        announced_at_s=0.0,
        max_context_tokens=4096,
        max_running=64,
        step_tokens=2048,
        step_target_ms=100.0,
        kv_blocks_total=4096,
        kv_block_tokens=16,
        kv_blocks_free=4096,
    )
