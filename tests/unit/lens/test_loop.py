import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest
import structlog

from services.lens import loop as loop_module
from services.lens.generation import Generation
from services.lens.loop import StepLoop, answer_timeout_s
from services.lens.planners import planner_named
from services.lens.scheduler import SentStep
from services.lens.sequence import Sequence
from shared.errors import ApiError, EngineFailed, Unavailable
from shared.lifecycle import Readiness
from shared.step import Refusal, RefusalCode, StepPlan
from shared.steptime import StepShape
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


async def test_what_asks_beside_the_steps_may_fail_but_not_in_silence():
    rig = Rig(FakeEngine())
    with structlog.testing.capture_logs() as logs:
        async with rig.running():
            await rig.loop.serving.wait()
            rig.engine.sessions[0].probe_fails = RuntimeError("a mistake of ours")
            await eventually(lambda: any(line["log_level"] == "error" for line in logs))
            assert await tokens_of(rig.loop, sequence(4, 3)) == [4, 5, 6]
    [line] = [line for line in logs if line["log_level"] == "error"]
    assert str(line["exc_info"]) == "a mistake of ours"


@contextlib.asynccontextmanager
async def an_engine_lost_in_mid_step(
    rig: Rig, *running: Sequence, begun: Sequence | None = None
) -> AsyncIterator[list[asyncio.Task[list[int]]]]:
    """The tasks that read the answers of these, each with a token back, from an engine that is gone with steps on their way.

    Args:
        begun: of its answer the client has been sent a part.
    """
    async with rig.running():
        await rig.loop.serving.wait()
        session = rig.engine.sessions[0]
        session.answers_left = 1
        answers = [asyncio.create_task(tokens_of(rig.loop, one)) for one in running]
        await eventually(lambda: all(one.output_ids for one in running))
        if begun is not None:
            rig.loop._generations[begun].begun = True
        rig.engine.away = True
        session.break_off()
        await eventually(lambda: not rig.loop.serving.is_set())
        yield answers


async def test_an_engine_that_is_soon_back_was_never_away():
    rig = Rig(FakeEngine())
    async with an_engine_lost_in_mid_step(rig, sequence(4, 6), sequence(5, 6)) as answers:
        assert "engine" in rig.readiness.problems
        rig.engine.away = False
        assert await asyncio.gather(*answers) == [[4, 5, 6, 7, 8, 9], [5, 6, 7, 8, 9, 10]]
        assert not rig.readiness.problems


async def test_the_first_try_to_open_a_lost_engine_comes_at_once(monkeypatch):
    monkeypatch.setattr(loop_module, "RECONNECT_S", 3600.0)
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        assert await tokens_of(rig.loop, sequence(4, 3)) == [4, 5, 6]
        rig.engine.sessions[0].break_off()
        await eventually(lambda: len(rig.engine.sessions) == 2)


async def test_an_engine_that_never_answers_a_plan_is_not_opened_over_and_over(monkeypatch):
    monkeypatch.setattr(loop_module, "RECONNECT_S", 3600.0)
    rig = Rig(FakeEngine())
    rig.engine.refuses = Refusal(RefusalCode.EXECUTOR_FAILED, "out of memory")
    async with rig.running():
        await rig.loop.serving.wait()
        waiting = asyncio.create_task(tokens_of(rig.loop, sequence(4, 3)))
        await eventually(lambda: not rig.loop.serving.is_set())
        waiting.cancel()
    assert rig.engine.tries == 1


REFUSAL = Refusal(RefusalCode.EXECUTOR_FAILED, "out of memory")


async def errors_of(loop: StepLoop, *sequences: Sequence) -> list[str | None]:
    """What each of these is told in place of an answer."""
    ends = await asyncio.gather(*(tokens_of(loop, one) for one in sequences), return_exceptions=True)
    return [end.code if isinstance(end, ApiError) else None for end in ends]


async def test_what_waits_for_an_engine_that_opens_but_refuses_all_is_handed_back(monkeypatch):
    monkeypatch.setattr(loop_module, "HAND_BACK_S", 0.05)
    monkeypatch.setattr(loop_module, "RECONNECT_S", 0.04)  # twice within the time, so that nobody is past hope before
    rig = Rig(FakeEngine())
    rig.engine.refuses = REFUSAL
    async with rig.running():
        await rig.loop.serving.wait()
        codes = await errors_of(rig.loop, *(sequence(4, 3, str(n)) for n in range(40)))
        assert codes == ["engine_away"] * 40
        assert rig.engine.tries <= 3  # all at once: not four at a time, each after so many rounds


async def test_what_fails_too_often_beside_others_is_handed_back_too(monkeypatch):
    monkeypatch.setattr(loop_module, "HAND_BACK_S", 3600.0)
    rig = Rig(FakeEngine())
    rig.engine.refuses = REFUSAL
    async with rig.running():
        await rig.loop.serving.wait()
        codes = await errors_of(rig.loop, *(sequence(4, 3, str(n)) for n in range(5)))  # the last runs alone at last
    assert codes == ["engine_away"] * 5


async def test_what_alone_has_failed_an_engine_again_and_again_is_not_handed_on(monkeypatch):
    monkeypatch.setattr(loop_module, "HAND_BACK_S", 3600.0)
    rig = Rig(FakeEngine())
    rig.engine.refuses = REFUSAL
    async with rig.running():
        await rig.loop.serving.wait()
        assert await errors_of(rig.loop, sequence(4, 3)) == ["engine_failed"]


async def test_a_lost_engine_that_opens_is_there_when_it_has_answered_a_step():
    rig = Rig(FakeEngine())
    rig.engine.only_opens_again = True
    begun = sequence(4, 6)
    async with an_engine_lost_in_mid_step(rig, begun, begun=begun) as [answer]:
        rig.engine.away = False
        await eventually(lambda: len(rig.engine.sessions) == 2 and rig.engine.sessions[1].plans)
        assert rig.readiness.problems == {"engine": "the server does not answer"}
        with pytest.raises(Unavailable):
            await tokens_of(rig.loop, sequence())
        rig.engine.sessions[1].running.set()
        assert await answer == [4, 5, 6, 7, 8, 9]
        assert rig.loop.serving.is_set()
        assert not rig.readiness.problems


async def test_a_lost_engine_that_nobody_waits_for_is_there_when_it_opens():
    rig = Rig(FakeEngine())
    rig.engine.only_opens_again = True
    async with an_engine_lost_in_mid_step(rig):
        rig.engine.away = False
        await eventually(rig.loop.serving.is_set)
        assert not rig.readiness.problems


async def test_the_time_to_hand_back_runs_from_the_loss_though_the_engine_opens(monkeypatch):
    monkeypatch.setattr(loop_module, "HAND_BACK_S", 0.05)
    rig = Rig(FakeEngine())
    rig.engine.only_opens_again = True
    async with an_engine_lost_in_mid_step(rig, sequence(4, 6), sequence(5, 6)) as answers:
        rig.engine.away = False
        ends = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(end) for end in ends] == [Unavailable, Unavailable]
        assert not rig.loop.serving.is_set()
        rig.engine.sessions[-1].running.set()  # what was on its way for them is answered, and nobody minds
        await eventually(rig.loop.serving.is_set)
        assert await tokens_of(rig.loop, sequence(4, 3)) == [4, 5, 6]


async def test_giving_up_ends_every_answer_and_the_loop_goes_on():
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        session = rig.engine.sessions[0]
        session.answers_left = 1
        begun, not_begun = sequence(4, 6), sequence(5, 6)
        answers = [asyncio.create_task(tokens_of(rig.loop, one)) for one in (begun, not_begun)]
        await eventually(lambda: begun.output_ids)
        rig.loop._generations[begun].begun = True
        rig.loop.give_up()
        ends = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(end) for end in ends] == [EngineFailed, Unavailable]
        assert rig.loop.generations_live == 0


async def test_when_an_engine_stays_away_only_those_who_have_been_sent_something_wait_for_it(monkeypatch):
    monkeypatch.setattr(loop_module, "HAND_BACK_S", 0.05)
    rig = Rig(FakeEngine())
    begun, not_begun = sequence(4, 6), sequence(5, 6)
    async with an_engine_lost_in_mid_step(rig, begun, not_begun, begun=begun) as (kept, handed_back):
        with pytest.raises(Unavailable) as error:
            await handed_back
        assert (error.value.code, error.value.headers["retry-after-ms"]) == ("engine_away", "1000")
        assert not_begun.outcome is Outcome.FAILED
        assert rig.readiness.problems == {"engine": "the server does not answer"}
        with pytest.raises(Unavailable):
            await tokens_of(rig.loop, sequence())
        rig.engine.away = False
        assert await kept == [4, 5, 6, 7, 8, 9]
    scheduler = rig.loop.scheduler
    assert scheduler is not None
    assert (scheduler.running, list(scheduler.waiting), rig.loop.generations_live) == ({}, [], 0)


async def test_what_was_not_read_before_a_request_is_handed_back_is_never_read():
    asked = sequence()
    generation = Generation(asked)
    asked.accept(7, 1.0)
    generation.push(1.0)
    generation.hand_back()
    with pytest.raises(Unavailable):
        await anext(aiter(generation))
    assert generation.tokens_read == 0


async def test_requests_are_handed_back_while_a_try_to_open_still_hangs(monkeypatch):
    monkeypatch.setattr(loop_module, "HAND_BACK_S", 0.05)
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        session = rig.engine.sessions[0]
        session.answers_left = 0
        waiting = asyncio.create_task(tokens_of(rig.loop, sequence()))
        await eventually(lambda: len(session.plans) == 2)
        rig.engine.hangs = True
        session.break_off()
        with pytest.raises(Unavailable):
            await waiting


async def test_when_patience_is_over_answers_that_have_begun_break_off(monkeypatch):
    monkeypatch.setattr(loop_module, "HAND_BACK_S", 0.02)
    rig = Rig(FakeEngine(), engine_patience_s=0.05)
    begun = sequence(4, 6)
    async with an_engine_lost_in_mid_step(rig, begun, begun=begun) as [broken]:
        with pytest.raises(EngineFailed):
            await broken
    assert rig.loop.generations_live == 0


async def test_an_engine_that_is_too_late_counts_as_lost(monkeypatch):
    monkeypatch.setattr(loop_module, "LEAST_ANSWER_TIMEOUT_S", 0.05)
    monkeypatch.setattr(loop_module, "MOST_TIMES_FORESEEN", 0.1)
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        rig.engine.sessions[0].answers_left = 1
        assert await tokens_of(rig.loop, sequence(4, 6)) == [4, 5, 6, 7, 8, 9]
        assert len(rig.engine.sessions) == 2


def sent(predicted_s: float) -> SentStep:
    return SentStep(StepPlan(1, 1, 1, ()), (), StepShape(1, 1), 0.1, predicted_s)


@pytest.mark.parametrize(
    ("predicted_s", "timeout_s"), [([], 5.0), ([0.01, 0.02], 5.0), ([0.6], 6.0), ([0.6, 0.4], 10.0), ([3.0, 9.0], 60.0)]
)
def test_an_answer_may_take_ten_times_what_is_foreseen_within_bounds(predicted_s, timeout_s):
    assert answer_timeout_s([sent(each) for each in predicted_s], step_timeout_s=60.0) == pytest.approx(timeout_s)


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


async def test_an_engine_is_held_to_what_is_foreseen_of_it_only_when_it_has_warmed_up(monkeypatch):
    monkeypatch.setattr(loop_module, "LEAST_ANSWER_TIMEOUT_S", 0.05)
    monkeypatch.setattr(loop_module, "MOST_TIMES_FORESEEN", 0.0)
    rig = Rig(FakeEngine())
    async with rig.running():
        await rig.loop.serving.wait()
        rig.engine.sessions[0].running.clear()
        late = asyncio.create_task(tokens_of(rig.loop, sequence(4, 6)))
        with pytest.raises(AssertionError):
            await eventually(lambda: len(rig.engine.sessions) > 1, 0.3)
        rig.engine.sessions[0].running.set()
        assert await late == [4, 5, 6, 7, 8, 9]
        rig.loop.is_warm = True
        rig.engine.sessions[0].running.clear()
        kept = asyncio.create_task(tokens_of(rig.loop, sequence(4, 6)))
        await eventually(lambda: len(rig.engine.sessions) > 1)
        assert await kept == [4, 5, 6, 7, 8, 9]
