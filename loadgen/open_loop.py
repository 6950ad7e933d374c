"""Sends each request at its arrival instant, however the ones before are doing: a server in trouble gets no mercy."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from loadgen.outcome import Outcome
from loadgen.workload import Request


async def send_all(
    requests: Iterable[Request],
    send: Callable[[Request], Awaitable[Outcome]],
    ended: Callable[[Outcome], None],
    *,
    started_at_s: float,
) -> list[Outcome]:
    """Every outcome, in the order of the requests.

    Args:
        requests: in the order of their arrivals.
        send: sends one request; errors are outcomes.
        ended: is told each outcome as it comes.
        started_at_s: the start of the run, `time.monotonic()`.
    """

    async def send_and_tell(request: Request) -> Outcome:
        outcome = await send(request)
        ended(outcome)
        return outcome

    async with asyncio.TaskGroup() as group:
        tasks = []
        for request in requests:
            # Whatever is due by now is sent at once: a loop that fell behind must not catch up one request a turn.
            if (wait_s := started_at_s + request.arrival_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            tasks.append(group.create_task(send_and_tell(request)))
    return [task.result() for task in tasks]
