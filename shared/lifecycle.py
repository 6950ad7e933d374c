"""How a service lives: it serves until a signal, says what it lacks while it lacks it, and drains before it leaves."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from typing import Any

CANCEL_AGAIN_S = 1.0


class Readiness:
    """What a service still lacks. It serves as well as it can without; `/health/ready` says so.

    A part is missing until it is reported as there.
    """

    def __init__(self, *parts: str) -> None:
        self._problems: dict[str, str | None] = dict.fromkeys(parts, "not there yet")

    def lacks(self, part: str, problem: str) -> None:
        """A part is away; `problem` says why."""
        self._problems[part] = problem

    def has(self, part: str) -> None:
        """A part is there."""
        self._problems[part] = None

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong, by part; empty when all is well."""
        return {part: problem for part, problem in self._problems.items() if problem is not None}


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets, in place of ending the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextlib.asynccontextmanager
async def background(*coroutines: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run these beside the body and cancel them after it; if one fails, so does the body."""
    body = asyncio.current_task()
    assert body is not None, "only within a task"
    tasks: list[asyncio.Task[None]] = []
    with _cancelled_for_good(body, tasks):
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(coroutine) for coroutine in coroutines]
            yield
            for task in tasks:
                task.cancel()


@contextlib.contextmanager
def _cancelled_for_good(body: asyncio.Task[Any], tasks: Sequence[asyncio.Task[None]]) -> Iterator[None]:
    """Cancel again what was cancelled and goes on.

    Before Python 3.12 `asyncio.wait_for`, which nats-py asks with, loses a cancellation that meets its answer
    (python/cpython#86296): a body would go on for ever without what it relies on.
    """
    loop = asyncio.get_running_loop()

    def insist() -> None:
        for task in (body, *tasks):
            if task.cancelling() and not task.done():
                task.uncancel()  # so that it counts once
                task.cancel()
        timers[:] = [loop.call_later(CANCEL_AGAIN_S, insist)]

    timers = [loop.call_later(CANCEL_AGAIN_S, insist)]
    try:
        yield
    finally:
        timers[0].cancel()
