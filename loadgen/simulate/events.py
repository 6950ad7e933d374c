"""Virtual time: what happens next, in order. Pure."""

import heapq
from collections.abc import Callable
from itertools import count


class Events:
    """What is to happen, by instant; of events at one instant those first that were added first."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._numbers = count()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, at_s: float, action: Callable[[], None]) -> None:
        """Let something happen at an instant that is not over."""
        assert at_s >= self.now_s, "time does not go back"
        heapq.heappush(self._heap, (at_s, next(self._numbers), action))

    def run(self, *, is_over: Callable[[], bool]) -> None:
        """Let everything happen, until it is over or nothing is left to happen."""
        while self._heap and not is_over():
            self.now_s, _, action = heapq.heappop(self._heap)
            action()
