"""The step loop: plan, send ahead, take the answer, hand out tokens; and again, from an empty engine, if it was lost."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager

import structlog

from services.lens.admission import engine_away, queue_wait_s
from services.lens.generation import Generation
from services.lens.plan import PlanLimits, Planner
from services.lens.scheduler import STEPS_AHEAD, Progress, Scheduler, SentStep
from services.lens.sequence import Sequence
from services.lens.session import EngineLost, EngineSession
from services.lens.step_report import step_report
from services.lens.synergy import synergy
from shared.lifecycle import Readiness
from shared.step import Probe, StepResult
from shared.steptime import PRIOR, StepModel
from shared.telemetry import IdleReport, Outcome, Report

log = structlog.get_logger()

HEARTBEAT_S = 1.0
LATENESS_S = 1.0
"""Between two questions how late an emulated engine's steps end; its answer is announced within `MOST_LATENESS_AGE_S`."""
RECONNECT_S = 0.5
"""Between two tries to open an engine that is away; the first comes at once."""
HAND_BACK_S = 1.0
"""An engine that answers again within this was never away. Else those who have been sent nothing yet are handed back, so
that another engine can answer them."""
LEAST_ANSWER_TIMEOUT_S = 5.0
MOST_TIMES_FORESEEN = 10.0
"""An answer that takes so many times longer than was foreseen, and no less than the least, does not come any more."""


def answer_timeout_s(in_flight: Iterable[SentStep], step_timeout_s: float) -> float:
    """How long to wait for the answer to the first of these, the others being queued behind it."""
    foreseen_s = sum(sent.predicted_s for sent in in_flight)
    return min(step_timeout_s, max(LEAST_ANSWER_TIMEOUT_S, MOST_TIMES_FORESEEN * foreseen_s))


class StepLoop:
    """Runs the engine of one lens; everything else on the event loop only adds, reads and ends generations."""

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[EngineSession]],
        report: Callable[[Report], None],
        readiness: Readiness,
        *,
        target_s: float,
        least_prefill_tokens: int,
        step_timeout_s: float,
        engine_patience_s: float,
        planner: Planner = synergy,
    ) -> None:
        self.model: StepModel = PRIOR
        """What the scheduler plans with; replaced whenever a newer forecast is read."""
        self.scheduler: Scheduler | None = None
        """None until the engine has answered for the first time."""
        self.serving = asyncio.Event()
        """Whether the engine is there; one that was lost is so only when it has answered again."""
        self.is_warm = False
        """Whether the model knows this engine. Before, what it foresees is no reason to think that an answer does not come any more: a
        small machine that starts everything at once takes that long."""
        self._connect = connect
        self._report = report
        self._readiness = readiness
        self._target_s = target_s
        self._least_prefill_tokens = least_prefill_tokens
        self._step_timeout_s = step_timeout_s
        self._engine_patience_s = engine_patience_s
        self._planner = planner
        self._generations: dict[Sequence, Generation] = {}
        self._work = asyncio.Event()
        self._started_s = time.monotonic()
        self._last_answer_s = self._started_s
        self._sent_s: dict[int, float] = {}
        self._has_answered = False
        """Whether anything has been answered in this epoch."""
        self._while_away: tuple[asyncio.TimerHandle, ...] = ()
        self._failed_with: set[Sequence] = set()
        """What it was running, each time it was lost since it served last."""

    @property
    def serving_scheduler(self) -> Scheduler:
        """The scheduler of an engine that is there.

        Raises:
            Unavailable: it is away, or has not answered yet.
        """
        if self.scheduler is None or not self.serving.is_set():
            raise engine_away()
        return self.scheduler

    @property
    def generations_live(self) -> int:
        """Requests that have not ended."""
        return len(self._generations)

    @property
    def waiting_requests(self) -> int:
        """Requests that are not in the engine yet."""
        return 0 if self.scheduler is None else len(self.scheduler.waiting)

    def queue_wait_s(self) -> float:
        """How long the engine takes to compute the prompts that wait now."""
        return queue_wait_s(self._scheduler.load(time.monotonic()), self.model, self._limits)

    @contextlib.contextmanager
    def generate(self, sequence: Sequence) -> Iterator[Generation]:
        """Let the sequence be answered; leaving the context before its end cancels it.

        Raises:
            Unavailable: the engine is away.
        """
        scheduler = self.serving_scheduler
        generation = self._generations[sequence] = Generation(sequence)
        scheduler.add(sequence)
        self._work.set()
        try:
            yield generation
        finally:
            self.end(sequence, Outcome.CANCELLED)

    def end(self, sequence: Sequence, outcome: Outcome) -> None:
        """End a generation from outside; without effect on one that has ended."""
        if self._generations.pop(sequence, None) is not None and self.scheduler is not None:
            self.scheduler.end(sequence, outcome)
            self._work.set()

    async def run(self) -> None:
        """Serve for ever; an engine that is lost is opened again, at once if it had answered anything."""
        try:
            while True:
                try:
                    async with self._connect() as session:
                        self._open(session)
                        await self._serve(session)
                except EngineLost as error:
                    self._lose(str(error))
                if not self._has_answered:
                    await asyncio.sleep(RECONNECT_S)
                self._has_answered = False
        finally:
            self._stop_timers()

    async def _serve(self, session: EngineSession) -> None:
        asking = asyncio.create_task(self._ask_lateness(session))
        asking.add_done_callback(_log_failure)
        try:
            while True:
                self._send_ahead(session)
                if self._scheduler.in_flight:
                    await self._take_answer(session)
                else:
                    await self._idle(session)
        finally:
            asking.cancel()

    async def _ask_lateness(self, session: EngineSession) -> None:
        """Keep how late an emulated engine's steps have ended, as it said last."""
        while session.info.emulated:
            await asyncio.sleep(LATENESS_S)
            with contextlib.suppress(EngineLost):  # the steps will meet that too
                probed = await session.probe()
                if probed.info is not None and probed.boot_id == session.boot_id:
                    self._scheduler.info = probed.info

    def _send_ahead(self, session: EngineSession) -> None:
        self._work.clear()
        limits = self._limits
        while len(self._scheduler.in_flight) < STEPS_AHEAD:
            now_s = time.monotonic()
            sent = self._scheduler.plan(self.model, limits, now_s)
            if sent is None:
                return
            self._sent_s[sent.plan.step] = now_s
            session.send(sent.plan)

    async def _take_answer(self, session: EngineSession) -> None:
        result = await self._receive(session)
        now_s = time.monotonic()
        sent, progress = self._scheduler.apply(result, now_s)
        self._hand_out(progress, now_s)
        started_s = max(self._sent_s.pop(sent.plan.step), self._last_answer_s)
        self._last_answer_s = now_s
        if sent.allotments:
            self._report(step_report(sent, result, start_s=started_s - self._started_s, wall_s=now_s - started_s))

    async def _idle(self, session: EngineSession) -> None:
        """Wait for work; meanwhile say that the engine idles, and see that it lives."""
        since_s = time.monotonic()
        while not self._work.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_S):
                    await self._work.wait()
                    return
            session.send(Probe())
            await self._receive(session)
            self._report(IdleReport(idle_s=time.monotonic() - since_s))

    async def _receive(self, session: EngineSession) -> StepResult:
        timeout_s = self._step_timeout_s
        if self.is_warm:
            timeout_s = answer_timeout_s(self._scheduler.in_flight, self._step_timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                result = await session.receive()
        except TimeoutError:
            raise EngineLost(f"no answer within {timeout_s:.3g} s") from None
        if result.refusal is not None:
            raise EngineLost(f"step {result.step} refused: {result.refusal.code}: {result.refusal.message}")
        self._has_answered = True
        self._note_serving()
        return result

    def _hand_out(self, progress: list[Progress], now_s: float) -> None:
        for sequence, _ in progress:
            generation = self._generations[sequence]
            generation.push(now_s)
            if sequence.outcome is not None:
                self._close(sequence)

    def _close(self, sequence: Sequence) -> None:
        self._generations.pop(sequence).close()

    @property
    def _scheduler(self) -> Scheduler:
        assert self.scheduler is not None, "the engine has answered once"
        return self.scheduler

    @property
    def _limits(self) -> PlanLimits:
        return PlanLimits(self._scheduler.info.max_step_tokens, self._least_prefill_tokens, self._target_s)

    def _open(self, session: EngineSession) -> None:
        is_first = self.scheduler is None
        if self.scheduler is None:
            self.scheduler = Scheduler(session.info, session.boot_id, session.epoch, self._planner)
        else:
            self.scheduler.open_epoch(session.info, session.boot_id, session.epoch)
        for sequence in self.scheduler.end_hopeless():
            self._let_go(sequence)
        self._sent_s.clear()
        self._last_answer_s = time.monotonic()
        log.info("engine opened", epoch=session.epoch, boot_id=session.boot_id, executor=session.info.executor)
        if is_first or not self.scheduler.waiting:  # else it opens, but may refuse all that it is asked to run
            self._note_serving()

    def _note_serving(self) -> None:
        """Those who have waited for the engine need not be answered elsewhere, and others may come."""
        if self.serving.is_set():
            return
        self._stop_timers()
        self._failed_with.clear()
        self.serving.set()
        self._readiness.has("engine")
        log.info("engine serves")

    def _lose(self, problem: str) -> None:
        """Note that the engine is away; when it was there until now, those who wait for it do so within limits."""
        self._readiness.lacks("engine", problem)
        if self.scheduler is not None:
            self._failed_with.update(ran.sequence for sent in self.scheduler.in_flight for ran in sent.allotments)
        if not self.serving.is_set():
            return
        self.serving.clear()
        log.warning("engine lost", problem=problem, generations=len(self._generations))
        later, patience_s = asyncio.get_running_loop().call_later, self._engine_patience_s
        self._while_away = (
            later(min(HAND_BACK_S, patience_s), self._hand_back),
            later(patience_s, self.give_up),
        )

    def _stop_timers(self) -> None:
        for timer in self._while_away:
            timer.cancel()

    def give_up(self) -> None:
        """End all that has not ended: answers that have begun break off, and others are handed back."""
        self._fail(list(self._generations))

    def _hand_back(self) -> None:
        """End those that another engine can still answer."""
        self._fail([sequence for sequence, generation in self._generations.items() if not generation.begun])

    def _fail(self, sequences: list[Sequence]) -> None:
        for sequence in sequences:
            self._scheduler.end(sequence, Outcome.FAILED)
            self._let_go(sequence)
        self._work.set()
        if sequences:
            log.warning("answers given up", given_up=len(sequences), kept=len(self._generations))

    def _let_go(self, sequence: Sequence) -> None:
        """Another engine can answer what has not begun; what alone, and again, has failed this one shall not meet it."""
        generation = self._generations.pop(sequence)
        is_to_blame = self._failed_with == {sequence} and sequence.recomputes_since_token > 1
        if generation.begun or is_to_blame:
            generation.close()
        else:
            generation.hand_back()


def _log_failure(task: asyncio.Task[None]) -> None:
    """What only watches may fail without harm, but not in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("lateness is not asked any more in this epoch", exc_info=error)
