"""How often requests may be sent again: a share of those that come, so that a fleet that is dying is not hammered. Pure."""

import math

RETRY_SHARE, RETRY_FLOOR = 0.2, 20.0
"""Enough for the requests that wait for a first byte where one engine of two dies; not enough to ask all of them thrice."""
WINDOW_S = 10.0
"""Requests and retries are forgotten within about so long."""


class RetryBudget:
    """A bucket that requests fill and retries empty, and that leaks. Times are seconds on any one clock.

    Over any time t there are at most `share` × requests + `floor` × (1 + t/WINDOW_S) retries. Each replica keeps that for the
    requests that it gets, so that all of them together do.

    Args:
        share: of the requests, that may be sent again; one that is sent twice again counts twice.
        floor: retries a window that are free, so that a replica with few requests can retry at all.
    """

    def __init__(self, share: float, floor: float) -> None:
        self._share = share
        self._floor = floor
        self._earned = 0.0
        """By requests of late."""
        self._spent = 0.0
        """On retries of late."""
        self._at_s = 0.0

    def earn(self, now_s: float) -> None:
        """A request has come."""
        self._forget(now_s)
        self._earned += self._share

    def spend(self, now_s: float) -> bool:
        """Whether a request may be sent again; if so, it counts."""
        self._forget(now_s)
        if self._spent + 1.0 > self._earned + self._floor:
            return False
        self._spent += 1.0
        return True

    def left(self, now_s: float) -> float:
        """Retries that are left now; whole ones can be spent."""
        self._forget(now_s)
        return self._earned + self._floor - self._spent

    def _forget(self, now_s: float) -> None:
        kept = math.exp(-max(now_s - self._at_s, 0.0) / WINDOW_S)
        self._earned *= kept
        self._spent *= kept
        self._at_s = max(now_s, self._at_s)
