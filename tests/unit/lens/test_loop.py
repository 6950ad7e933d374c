import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from services.lens import loop as loop_module
from services.lens.loop import StepLoop
from services.lens.planners import planner_named
from services.lens.sequence import Sequence
from shared.errors import EngineFailed, Unavailable
from shared.lifecycle import Readiness
from shared.step import Refusal, RefusalCode
from shared.telemetry import IdleReport, Outcome, Report, StepReport
from tests.servers import eventually
from tests.unit.lens.builders import sequence
from tests.unit.lens.fake_session import FakeEngine


class Rig:
    def __init__(self, engine: FakeEngine, *, engine_patience_s: float = 5.0, planner: str = "synergy") -> None:
        self.engine = engine
        self.reports: list[Report] = []
        self.readiness = Readiness("engine")
        self.loop = StepLoop(
            engine.connect,
            self.reports.append,
            self.readiness,
            target_s=0.1,
            least_prefill_tokens=4,
            step_timeout_s=5.0,
            engine_patience_s=engine_patience_s,
            planner=planner_named(planner),
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.loop.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def tokens_of(loop: StepLoop, of: Sequence) -> list[int]:
    with loop.generate(of) as generation:
        return [token_id async for token_id in generation]


@pytest.fixture(autouse=True)
def quick_timers(monkeypatch):
    monkeypatch.setattr(loop_module, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(loop_module, "LATENESS_S", 0.01)
    monkeypatch.setattr(loop_module, "RECONNECT_S", 0.01)


async def test_many_requests_are_answered_side_by_side():
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        answers = await asyncio.gather(*(tokens_of(rig.loop, sequence(4, 6, str(n))) for n in range(9)))
    assert answers == [[4, 5, 6, 7, 8, 9]] * 9
    assert max(len(plan.chunks) for plan in rig.engine.sessions[0].plans) == 4  # as many as there are slots


async def test_steps_are_planned_by_the_planner_that_was_set():
    rig = Rig(FakeEngine(), planner="static-3")
    async with rig.running():
        await rig.loop.serving.wait()
        await tokens_of(rig.loop, sequence(prompt_tokens=7, max_output_tokens=1))
    chunks = [chunk.num_tokens for plan in rig.engine.sessions[0].plans for chunk in plan.chunks]
    assert chunks == [3, 3, 1]


async def test_each_step_is_reported_as_planned_predicted_and_measured():
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        await tokens_of(rig.loop, sequence(prompt_tokens=10, max_output_tokens=2))
    steps = [report for report in rig.reports if isinstance(report, StepReport)]
    assert [(s.step, s.prefill_tokens, s.decode_tokens, s.kv_tokens) for s in steps] == [(1, 10, 0, 0), (2, 0, 1, 10)]
    assert all(s.duration_ms == 2.0 and s.predicted_ms > 0 and s.planned_ms == 100 and s.wall_ms > 0 for s in steps)


async def test_an_idle_engine_is_said_to_be_idle():
    rig = Rig(FakeEngine())
    async with rig.running():
        await eventually(lambda: any(isinstance(report, IdleReport) for report in rig.reports))
    assert not any(isinstance(report, StepReport) for report in rig.reports)


def lateness_counts(rig: Rig) -> tuple[int, ...]:
    assert rig.loop.scheduler is not None
    return rig.loop.scheduler.info.lateness_counts


async def test_how_late_an_emulated_engine_s_steps_end_is_asked_beside_them():
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        session = rig.engine.sessions[0]
        session.running.clear()
        answer = asyncio.create_task(tokens_of(rig.loop, sequence(4, 6)))
        await eventually(lambda: len(session.plans) == 2)
        info = msgspec.structs.replace(session.info, lateness_counts=(7, 1))
        session.probed = msgspec.structs.replace(session.probed, info=info)
        await eventually(lambda: lateness_counts(rig) == (7, 1))
        session.running.set()
        assert await answer == [4, 5, 6, 7, 8, 9]


async def test_what_another_start_of_the_engine_says_is_not_taken_for_this_one_s():
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        session = rig.engine.sessions[0]
        info = msgspec.structs.replace(session.info, lateness_counts=(7, 1), max_context_tokens=1)
        session.probed = msgspec.structs.replace(session.probed, boot_id=2, info=info)
        seen = session.probes
        await eventually(lambda: session.probes > seen + 1)
        assert rig.loop.scheduler is not None
        assert rig.loop.scheduler.info == session.info


async def test_a_real_engine_is_asked_nothing_beside_its_steps():
    rig = Rig(FakeEngine(emulated=False))
    async with rig.running():
        await eventually(lambda: len(rig.reports) == 3)
    assert rig.engine.sessions[0].probes == 0


async def test_a_broken_stream_goes_unnoticed_by_requests():
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        session = rig.engine.sessions[0]
        session.running.clear()
        answer = asyncio.create_task(tokens_of(rig.loop, sequence(4, 6)))
        await eventually(lambda: len(session.plans) == 2)
        session.break_off()
        assert await answer == [4, 5, 6, 7, 8, 9]
        assert len(rig.engine.sessions) == 2


async def test_a_refusal_opens_a_new_epoch():
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        rig.engine.sessions[0].refuse(Refusal(RefusalCode.POSITION_MISMATCH, "slot 1"))
        assert await tokens_of(rig.loop, sequence(4, 3)) == [4, 5, 6]
        assert len(rig.engine.sessions) == 2


async def test_an_engine_that_stays_away_fails_what_waits_for_it_and_refuses_what_comes():
    rig = Rig(FakeEngine(), engine_patience_s=0.05)
    async with rig.running():
        await rig.loop.serving.wait()
        rig.engine.sessions[0].running.clear()
        waiting = asyncio.create_task(tokens_of(rig.loop, sequence()))
        await eventually(lambda: len(rig.engine.sessions[0].plans) == 2)
        rig.engine.away = True
        rig.engine.sessions[0].break_off()
        with pytest.raises(EngineFailed):
            await waiting
        assert rig.readiness.problems == {"engine": "the server does not answer"}
        with pytest.raises(Unavailable):
            await tokens_of(rig.loop, sequence())


async def test_leaving_a_generation_cancels_it():
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        left = sequence(4, 50)
        with rig.loop.generate(left) as generation:
            await anext(aiter(generation))
        assert left.outcome is Outcome.CANCELLED
        assert rig.loop.generations_live == 0


async def test_before_the_engine_has_answered_requests_are_refused():
    with pytest.raises(Unavailable), Rig(FakeEngine()).loop.generate(sequence()):
        pass
