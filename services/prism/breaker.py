"""Whether an engine is to be passed over for having failed: longer each time, with one request at a time to try it. Pure."""

from enum import StrEnum

FIRST_OPEN_S = 2.0
"""An engine that has failed is passed over for so long while there are others; within that its key expires if it is gone."""
MOST_OPEN_S = 30.0


class BreakerState(StrEnum):
    """What an engine may be given."""

    CLOSED = "closed"
    """Whatever comes."""
    OPEN = "open"
    """Nothing while there are others."""
    HALF_OPEN = "half-open"
    """One request, to find out."""


class Breaker:
    """Of one engine. Times are seconds on any one clock.

    One failure opens it: a client has waited for nothing, and to pass over an engine costs little while there are others.
    Requests that were on their way by then fail with it, and count as the same failure. While no other engine is left,
    requests go to open ones too: what they find counts as a trial's finding.
    """

    def __init__(self) -> None:
        self._failures = 0
        """In a row, each found by a request sent after the one before."""
        self._failed_at_s = 0.0
        self._trial_at_s: float | None = None
        """When the request that is to find out was sent; None where there is none."""

    def state(self, now_s: float) -> BreakerState:
        """What it lets through now."""
        if not self._failures:
            return BreakerState.CLOSED
        latest_s = self._failed_at_s if self._trial_at_s is None else self._trial_at_s
        return BreakerState.OPEN if now_s - latest_s < self.open_s else BreakerState.HALF_OPEN

    @property
    def open_s(self) -> float:
        """How long the engine is passed over after its last failure, and after a trial that has found nothing yet."""
        return min(FIRST_OPEN_S * 2.0 ** min(self._failures - 1, 30), MOST_OPEN_S) if self._failures else 0.0

    def sent(self, now_s: float) -> None:
        """A request goes to the engine: the trial, where one is due."""
        if self.state(now_s) is BreakerState.HALF_OPEN:
            self._trial_at_s = now_s

    def succeeded(self, sent_at_s: float) -> None:
        """The engine has answered a request sent then."""
        if sent_at_s >= self._failed_at_s:
            self._failures, self._trial_at_s = 0, None

    def failed(self, sent_at_s: float, now_s: float) -> None:
        """The engine has failed a request sent then."""
        if self._failures and sent_at_s < self._failed_at_s:
            return
        self._failures += 1
        self._failed_at_s, self._trial_at_s = now_s, None

    def left(self, sent_at_s: float) -> None:
        """A request sent then has ended; where it was the trial and found nothing, another may go."""
        if self._trial_at_s == sent_at_s:
            self._trial_at_s = None
