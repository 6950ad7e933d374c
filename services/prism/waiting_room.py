"""Where requests wait for a moment that no engine can keep their promise in to pass, those of higher priority before others."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

MOST_WAITING = 256
"""More are not let in: whoever comes then is answered at once."""
LOOK_AGAIN_S = 0.05
"""Half of the time in which lens tells anew how its engine is."""


class WaitingRoom:
    """Gives those who wait their turns: every so often each of them, one after the other, by priority and then by arrival."""

    def __init__(self) -> None:
        self._present = 0
        self._numbers = itertools.count()
        self._line: list[tuple[int, int, asyncio.Future[None]]] = []
        """Of this round, a heap."""
        self._is_somebodys_turn = False

    async def hold(
        self, attempt: Callable[[], Awaitable[T | None]], priority: int, until_s: float, clock: Callable[[], float]
    ) -> T | None:
        """Make an attempt every so often until one comes to something; None where none does in time, or there is no room.

        Args:
            priority: who has a higher one makes an attempt before others.
            until_s: by `clock`.
        """
        if self._present >= MOST_WAITING:
            return None
        number = next(self._numbers)
        self._present += 1
        try:
            while (left_s := until_s - clock()) > 0.0:
                await asyncio.sleep(min(LOOK_AGAIN_S, left_s))
                async with self._turn(priority, number):
                    if (result := await attempt()) is not None:
                        return result
            return None
        finally:
            self._present -= 1

    @contextlib.asynccontextmanager
    async def _turn(self, priority: int, number: int) -> AsyncIterator[None]:
        if self._is_somebodys_turn:
            called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._line, (-priority, number, called))
            try:
                await called
            except asyncio.CancelledError:
                if called.done() and not called.cancelled():
                    self._call_next()
                raise
        self._is_somebodys_turn = True
        try:
            yield
        finally:
            self._call_next()

    def _call_next(self) -> None:
        while self._line:
            _, _, called = heapq.heappop(self._line)
            if not called.done():
                called.set_result(None)
                return
        self._is_somebodys_turn = False
