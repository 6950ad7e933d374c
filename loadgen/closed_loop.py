"""A fixed number of clients, each of which sends its next request once it has the answer to its last."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from loadgen.outcome import Outcome
from loadgen.workload import Request


async def send_in_turn(
    requests: Iterable[Request],
    send: Callable[[Request], Awaitable[Outcome]],
    ended: Callable[[Outcome], None],
    *,
    started_at_s: float,
    clients: int,
    think_s: float = 0.0,
) -> list[Outcome]:
    """Every outcome, in the order of their arrivals, which are the instants at which a client was ready.

    Args:
        requests: dealt to whoever is ready.
        send: sends one request; errors are outcomes.
        ended: is told each outcome as it comes.
        started_at_s: the start of the run, `time.monotonic()`.
        clients: how many; all of them begin at once.
        think_s: what each waits between an answer and its next request.
    """
    dealt = iter(requests)
    outcomes: list[Outcome] = []

    async def work() -> None:
        for number, request in enumerate(dealt):
            if number:
                await asyncio.sleep(think_s)  # not after the last answer: that would count as time of the run
            arrived = msgspec.structs.replace(request, arrival_s=time.monotonic() - started_at_s)
            outcome = await send(arrived)
            ended(outcome)
            outcomes.append(outcome)

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(work())
    return sorted(outcomes, key=lambda outcome: outcome.request.arrival_s)
