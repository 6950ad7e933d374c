"""The device's thread: it takes requests one at a time, in order, and is the only one to touch the executor."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec
import structlog

from services.engine.epoch import EpochGate
from services.engine.slots import SlotTable
from shared.step import Chunk, EngineInfo, EngineRequest, OpenEpoch, Probe, Refusal, RefusalCode, StepPlan, StepResult

log = structlog.get_logger()

MOST_WAITING = 64
"""Requests that may wait before plans are refused; lens sends two or three ahead."""


class Executor(Protocol):
    """Runs chunks whose slots, positions and tokens have been checked."""

    @property
    def info(self) -> EngineInfo:
        """What it is and what it can hold."""

    def run(self, chunks: Sequence[Chunk], came_s: float, /) -> Sequence[int]:
        """Run these as one step; returns one token id per chunk, NO_TOKEN where none was to be drawn.

        Args:
            came_s: when the plan came, on `time.perf_counter`.
        """

    def release(self, slot: int) -> None:
        """Forget the slot's sequence."""

    def reset(self) -> None:
        """Forget everything, also after a run that failed."""


Answer = Callable[[StepResult], None]


class _Job(NamedTuple):
    request: EngineRequest | None
    """None if it could not be read."""
    refusal: Refusal | None
    """Why it shall not run, if that was known when it came; it is still answered in its turn."""
    answer: Answer
    came_s: float


class Device:
    """Answers every request exactly once, in the order in which they came.

    Answers are delivered from a second thread: sending one through Triton takes up to 2 ms, in which the next step runs.
    """

    def __init__(self, executor: Executor, boot_id: int, most_waiting: int = MOST_WAITING) -> None:
        self._executor = executor
        self._gate = EpochGate(boot_id)
        self._slots = SlotTable(executor.info)
        self._most_waiting = most_waiting
        self._free_s = 0.0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Answer, StepResult] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name="device", daemon=True),
            threading.Thread(target=self._deliver, name="answers", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, request: EngineRequest, answer: Answer) -> None:
        """Have the request run; `answer` is called from another thread."""
        came_s = time.perf_counter()
        refusal = None
        if isinstance(request, StepPlan) and self._jobs.qsize() >= self._most_waiting:
            refusal = Refusal(RefusalCode.QUEUE_FULL, f"{self._most_waiting} requests are waiting already")
            request = msgspec.structs.replace(request, chunks=(), released_slots=())
        self._jobs.put(_Job(request, refusal, answer, came_s))

    def refuse(self, refusal: Refusal, answer: Answer) -> None:
        """Have a request refused that could not be read; it may have been a step, so the epoch ends with it."""
        self._jobs.put(_Job(None, refusal, answer, time.perf_counter()))

    def stop(self) -> None:
        """Run and answer what is waiting, then end the threads."""
        self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._results.put((job.answer, self._result_of(job)))
        self._results.put(None)

    def _deliver(self) -> None:
        while (result := self._results.get()) is not None:
            answer, answered = result
            try:
                answer(answered)
            except Exception:
                log.exception("an answer was lost", step=answered.step)

    def _result_of(self, job: _Job) -> StepResult:
        try:
            match job.request:
                case StepPlan() as plan:
                    return self._run(plan, job)
                case OpenEpoch():
                    return self._open_epoch()
                case Probe():
                    return self._result(info=self._executor.info)
                case None:
                    assert job.refusal is not None, "an unread request comes with the reason"
                    return self._refused(job.refusal)
        except Exception as error:
            log.exception("the executor failed")
            return self._refused(Refusal(RefusalCode.EXECUTOR_FAILED, f"{type(error).__name__}: {error}"))

    def _open_epoch(self) -> StepResult:
        self._gate.open()
        self._slots.clear()
        self._executor.reset()
        return self._result(info=self._executor.info)

    def _run(self, plan: StepPlan, job: _Job) -> StepResult:
        out_of_place = self._gate.admit(plan)
        if out_of_place is not None:
            return msgspec.structs.replace(self._result(refusal=out_of_place), epoch=plan.epoch, step=plan.step)
        cannot_run = job.refusal or self._slots.check(plan)
        if cannot_run is not None:
            return self._refused(cannot_run)
        for slot in plan.released_slots:
            self._executor.release(slot)
        if not plan.chunks:
            self._slots.apply(plan)
            return self._result()
        started_s = max(job.came_s, self._free_s)
        sampled_ids = tuple(self._executor.run(plan.chunks, job.came_s))
        self._free_s = time.perf_counter()
        self._slots.apply(plan)
        return msgspec.structs.replace(self._result(), duration_s=self._free_s - started_s, sampled_ids=sampled_ids)

    def _refused(self, refusal: Refusal) -> StepResult:
        self._gate.poison(refusal)
        return self._result(refusal=refusal)

    def _result(self, *, refusal: Refusal | None = None, info: EngineInfo | None = None) -> StepResult:
        return StepResult(
            boot_id=self._gate.boot_id,
            epoch=self._gate.epoch,
            step=self._gate.last_step,
            kv_blocks_used=self._slots.blocks_used,
            refusal=refusal,
            info=info,
        )
