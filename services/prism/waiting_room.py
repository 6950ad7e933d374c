"""Where requests wait for a moment that no engine can keep their promise in to pass, those of higher priority before others."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

MOST_WAITING = 256
"""More are not let in: whoever comes then is answered at once."""
BETWEEN_ROUNDS_S = 0.05
"""Half of the time in which lens tells anew how its engine is."""
MOST_REFUSED = 3
"""That a round is over after: attempts take processor time from those who are served, and the next ones fare alike."""


class _Guest:
    """Somebody who waits.

    Attributes:
        rank: by it turns are given, the least first.
        asked: at which turn it was last asked; who has just come was refused just now.
        called: done when it is its turn.
    """

    def __init__(self, priority: int, number: int, asked: int) -> None:
        self.rank = (-priority, number)
        self.asked = asked
        self.called: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class WaitingRoom:
    """Gives those who wait their turns in rounds, one after the other, by priority and then by arrival.

    A round ends after a few who came in vain. Its first turn is for the highest there is; the others are for those who have
    waited for one for longest, so that nobody is shut out by others whose promises cannot be kept for long. Where one gets
    what it came for, things have changed, and turns go on from the highest.
    """

    def __init__(self) -> None:
        self._present = 0
        self._numbers = itertools.count()
        self._line: list[_Guest] = []
        """Who waits for a turn."""
        self._turns = 0
        """That there have been."""
        self._began_at_turn = 0
        """The round: who was asked later is not asked in it again."""
        self._refused = 0
        """In this round."""
        self._is_going = False
        """Whether it is somebody's turn, or a round will begin."""

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
        number, asked = next(self._numbers), self._turns
        self._present += 1
        try:
            while (left_s := until_s - clock()) > 0.0:
                guest = _Guest(priority, number, asked)
                if await self._is_called(guest, left_s) and (result := await self._attempt(attempt)) is not None:
                    return result
                asked = guest.asked
            return None
        finally:
            self._present -= 1

    async def _is_called(self, guest: _Guest, left_s: float) -> bool:
        """Wait for a turn, as long as there is time."""
        self._line.append(guest)
        if not self._is_going:
            self._begin_later()
        is_here = False
        try:
            async with asyncio.timeout(left_s):
                await guest.called
            is_here = True
        except TimeoutError:
            pass
        finally:
            self._line.remove(guest)
            if not is_here and guest.called.done() and not guest.called.cancelled():
                self._go_on()
        return is_here

    async def _attempt(self, attempt: Callable[[], Awaitable[T | None]]) -> T | None:
        result = None
        try:
            result = await attempt()
        finally:
            if result is None:
                self._refused += 1
            else:
                self._began_at_turn = self._turns
            self._go_on()
        return result

    def _begin_later(self) -> None:
        self._is_going = True
        asyncio.get_running_loop().call_later(BETWEEN_ROUNDS_S, self._begin)

    def _begin(self) -> None:
        self._began_at_turn, self._refused = self._turns, 0
        self._go_on()

    def _go_on(self) -> None:
        """Give the next turn, or have another round begin in a while."""
        guests = [guest for guest in self._line if guest.asked <= self._began_at_turn and not guest.called.done()]
        if guests and self._refused < MOST_REFUSED:
            if self._turns > self._began_at_turn:
                left = MOST_REFUSED - self._refused
                guests = heapq.nsmallest(left, guests, key=lambda guest: (guest.asked, guest.rank))
            guest = min(guests, key=lambda guest: guest.rank)
            self._turns += 1
            guest.asked = self._turns
            guest.called.set_result(None)
        elif self._line:
            self._begin_later()
        else:
            self._is_going = False
