"""What became of the promises that were made, and what the next ones are worth. Pure."""

import heapq
from collections.abc import Callable

from services.prism.chances_kept import ChancesKept

WATCHED_S = 60.0
"""A first token that is due later is not waited for: no client can have the router remember for longer than that."""


class Promise:
    """To keep a request's targets, with the chance that was presumed of it."""

    __slots__ = ("has_begun", "is_open", "model_known", "presumed")

    def __init__(self, presumed: float, model_known: bool, has_begun: Callable[[], bool]) -> None:
        self.presumed = presumed
        self.model_known = model_known
        self.has_begun = has_begun
        self.is_open = True
        """As long as nobody knows whether it is kept."""


class Promises:
    """Of one replica. Times are seconds on any one clock.

    A promise is broken as soon as its first token is overdue: whoever waited for the answer's end would learn of the late ones
    last, and take the early ones for all.
    """

    def __init__(self) -> None:
        self._by_known = {True: ChancesKept(), False: ChancesKept()}
        """By whether the engine's step model was known: what is presumed of others is cautious."""
        self._due: list[tuple[float, int, Promise]] = []
        self._made = 0

    def told(self, presumed: float, *, model_known: bool) -> float:
        """What to say in place of a chance that is presumed."""
        return self._by_known[model_known].corrected(presumed)

    def make(
        self,
        presumed: float,
        now_s: float,
        *,
        model_known: bool,
        first_token_due_s: float,
        has_begun: Callable[[], bool],
    ) -> Promise:
        """Make one.

        Args:
            first_token_due_s: when; infinite where nobody sees the first token, or nothing is promised of it.
            has_begun: whether the first token is here.
        """
        promise = Promise(presumed, model_known, has_begun)
        if first_token_due_s <= now_s + WATCHED_S:
            self._made += 1
            heapq.heappush(self._due, (first_token_due_s, self._made, promise))
        return promise

    def settle(self, promise: Promise, kept: bool | None) -> None:
        """It was kept, or broken; None: nobody will ever know. Of one that is settled already nothing more is learned."""
        if promise.is_open and kept is not None:
            self._by_known[promise.model_known].note(promise.presumed, kept)
        promise.is_open = False
        promise.has_begun = _known  # nothing of the request is kept for it

    def look(self, now_s: float) -> None:
        """Settle those whose first token is overdue."""
        while self._due and self._due[0][0] < now_s:
            _, _, promise = heapq.heappop(self._due)
            if promise.is_open and not promise.has_begun():
                self.settle(promise, kept=False)


def _known() -> bool:
    return True
