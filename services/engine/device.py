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

    def run(self, chunks: Sequence[Chunk]) -> Sequence[int]:
        """Run these as one step; returns one token id per chunk, NO_TOKEN where none was to be drawn."""

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


class Device:
    """Answers every request exactly once, in the order in which they came."""

    def __init__(self, executor: Executor, boot_id: int, most_waiting: int = MOST_WAITING) -> None:
        self._executor = executor
        self._gate = EpochGate(boot_id)
        self._slots = SlotTable(executor.info)
        self._most_waiting = most_waiting
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="device", daemon=True)
        self._thread.start()

    def submit(self, request: EngineRequest, answer: Answer) -> None:
        """Have the request run; `answer` is called from the device's thread."""
        refusal = None
        if isinstance(request, StepPlan) and self._jobs.qsize() >= self._most_waiting:
            refusal = Refusal(RefusalCode.QUEUE_FULL, f"{self._most_waiting} requests are waiting already")
            request = msgspec.structs.replace(request, chunks=(), released_slots=())
        self._jobs.put(_Job(request, refusal, answer))

    def refuse(self, refusal: Refusal, answer: Answer) -> None:
        """Have a request refused that could not be read; it may have been a step, so the epoch ends with it."""
        self._jobs.put(_Job(None, refusal, answer))

    def stop(self) -> None:
        """Run what is waiting, then end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job.answer(self._answer_to(job))
            except Exception:
                log.exception("an answer was lost")

    def _answer_to(self, job: _Job) -> StepResult:
        match job.request:
            case StepPlan() as plan:
                return self._run(plan, job.refusal)
            case OpenEpoch():
                return self._open_epoch()
            case Probe():
                return self._result(info=self._executor.info)
            case None:
                assert job.refusal is not None, "an unread request comes with the reason"
                self._gate.poison(job.refusal)
                return self._result(refusal=job.refusal)

    def _open_epoch(self) -> StepResult:
        self._gate.open()
        self._slots.clear()
        try:
            self._executor.reset()
        except Exception as error:
            refusal = self._executor_failed(error)
            self._gate.poison(refusal)
            return self._result(refusal=refusal)
        return self._result(info=self._executor.info)

    def _run(self, plan: StepPlan, known: Refusal | None) -> StepResult:
        refusal = self._gate.admit(plan)
        if refusal is None:
            refusal = known or self._slots.check(plan)
            if refusal is None:
                result = self._execute(plan)
                if isinstance(result, StepResult):
                    return result
                refusal = result
            self._gate.poison(refusal)
        return msgspec.structs.replace(self._result(refusal=refusal), epoch=plan.epoch, step=plan.step)

    def _execute(self, plan: StepPlan) -> StepResult | Refusal:
        try:
            for slot in plan.released_slots:
                self._executor.release(slot)
            started_s = time.perf_counter()
            sampled_ids = tuple(self._executor.run(plan.chunks)) if plan.chunks else ()
            duration_s = time.perf_counter() - started_s
        except Exception as error:
            return self._executor_failed(error)
        self._slots.apply(plan)
        return msgspec.structs.replace(self._result(), duration_s=duration_s, sampled_ids=sampled_ids)

    def _result(self, *, refusal: Refusal | None = None, info: EngineInfo | None = None) -> StepResult:
        return StepResult(
            boot_id=self._gate.boot_id,
            epoch=self._gate.epoch,
            step=self._gate.last_step,
            kv_blocks_used=self._slots.blocks_used,
            refusal=refusal,
            info=info,
        )

    def _executor_failed(self, error: Exception) -> Refusal:
        log.exception("the executor failed")
        return Refusal(RefusalCode.EXECUTOR_FAILED, f"{type(error).__name__}: {error}")
