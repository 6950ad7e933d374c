"""Waiting for an engine's answer for as long as the engine is in the pool: a frozen one breaks no connection."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from services.prism.upstream import Answer, EngineAway

CHECKED_EVERY_S = 1.0


async def while_there(answer: Coroutine[Any, Any, Answer], is_there: Callable[[], Awaitable[bool]]) -> Answer:
    """The beginning of the answer.

    Raises:
        EngineAway: the engine has left the pool meanwhile.
    """
    loop, stays, watching = asyncio.get_running_loop(), asyncio.timeout(None), set[asyncio.Task[None]]()

    async def watch() -> None:
        while await is_there():
            await asyncio.sleep(CHECKED_EVERY_S)
        stays.reschedule(loop.time())  # its time is over

    # Most answers begin before there is anything to watch.
    later = loop.call_later(CHECKED_EVERY_S, lambda: watching.add(loop.create_task(watch())))
    try:
        async with stays:
            try:
                return await answer
            finally:
                later.cancel()
                for task in watching:
                    task.cancel()
    except TimeoutError:
        if stays.expired():
            raise EngineAway("it has left the pool") from None
        raise
