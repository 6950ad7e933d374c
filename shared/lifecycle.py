"""How a service lives: it serves until a signal, says what it lacks while it lacks it, and drains before it leaves."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping


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
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
        yield
        for task in tasks:
            task.cancel()
