"""What this replica has sent and the engines' states do not show yet, so that a burst does not stampede one engine."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from services.prism.breaker import Breaker, BreakerState
from shared.engine_state import EngineState

PENDING_S = 5.0
"""A dispatch that no state has echoed for so long is not on its way any more."""
RECENT_S = 10.0
"""For how long an answer's first byte says something of its engine."""
FIRST_BYTE_GAIN = 0.2
"""Of the newest in their mean."""


class Dispatch(msgspec.Struct, frozen=True):
    """One request sent to one engine; numbers count from 1, by engine."""

    engine: str
    number: int
    prompt_tokens: int
    sent_at_s: float


class Load(msgspec.Struct, frozen=True):
    """What this replica knows of an engine beyond its state."""

    outstanding_requests: int = 0
    """Sent and not ended."""
    pending_requests: int = 0
    """Of those, sent too lately for the state to count them."""
    pending_prompt_tokens: int = 0
    suspect: bool = False
    """It has failed, and is passed over while there are others."""
    recent_first_byte_s: float | None = None
    """From sending to an answer's first byte, a mean that forgets; None where none came of late."""


class _FirstBytes(NamedTuple):
    mean_s: float
    latest_at_s: float


class Dispatches:
    """A ledger of the requests that this replica has at each engine. Times are seconds on any one clock."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._numbers: dict[str, Iterator[int]] = {}
        self._outstanding: dict[str, dict[int, Dispatch]] = {}
        """By engine and number, in order of sending."""
        self._breakers: dict[str, Breaker] = {}
        """Of engines that have failed once."""
        self._first_bytes: dict[str, _FirstBytes] = {}

    def send(self, engine: str, prompt_tokens: int, now_s: float) -> Dispatch:
        """Number a request that is about to be sent."""
        number = next(self._numbers.setdefault(engine, itertools.count(1)))
        dispatch = Dispatch(engine, number, prompt_tokens, now_s)
        self._outstanding.setdefault(engine, {})[number] = dispatch
        if (breaker := self._breakers.get(engine)) is not None:
            breaker.sent(now_s)
        return dispatch

    def answered(self, dispatch: Dispatch, now_s: float) -> None:
        """The first byte of the answer is here."""
        took_s = now_s - dispatch.sent_at_s
        mean_s = self._recent_first_byte_s(dispatch.engine, now_s)
        mean_s = took_s if mean_s is None else mean_s + FIRST_BYTE_GAIN * (took_s - mean_s)
        self._first_bytes[dispatch.engine] = _FirstBytes(mean_s, now_s)
        self.well(dispatch)

    def end(self, dispatch: Dispatch) -> None:
        """The request has left its engine, however it ended."""
        del self._outstanding[dispatch.engine][dispatch.number]
        if (breaker := self._breakers.get(dispatch.engine)) is not None:
            breaker.left(dispatch.sent_at_s)

    def failed(self, dispatch: Dispatch, now_s: float) -> None:
        """The engine could not be reached, said that it cannot serve, or broke off."""
        self._breakers.setdefault(dispatch.engine, Breaker()).failed(dispatch.sent_at_s, now_s)

    def well(self, dispatch: Dispatch) -> None:
        """The engine is there, whatever it made of the request."""
        if (breaker := self._breakers.get(dispatch.engine)) is not None:
            breaker.succeeded(dispatch.sent_at_s)

    def breaker_state(self, engine: str, now_s: float) -> BreakerState:
        """Whether an engine that has failed is passed over."""
        breaker = self._breakers.get(engine)
        return BreakerState.CLOSED if breaker is None else breaker.state(now_s)

    def load(self, state: EngineState, now_s: float) -> Load:
        """What this replica's requests add to a state."""
        outstanding = self._outstanding.get(state.engine, {})
        pending = list(self._unseen(list(outstanding.values()), state.admitted.get(self.replica, 0), now_s))
        return Load(
            outstanding_requests=len(outstanding),
            pending_requests=len(pending),
            pending_prompt_tokens=sum(dispatch.prompt_tokens for dispatch in pending),
            suspect=self.breaker_state(state.engine, now_s) is BreakerState.OPEN,
            recent_first_byte_s=self._recent_first_byte_s(state.engine, now_s),
        )

    def _recent_first_byte_s(self, engine: str, now_s: float) -> float | None:
        seen = self._first_bytes.get(engine)
        return None if seen is None or now_s - seen.latest_at_s > RECENT_S else seen.mean_s

    @staticmethod
    def _unseen(outstanding: Sequence[Dispatch], admitted: int, now_s: float) -> Iterator[Dispatch]:
        for dispatch in reversed(outstanding):  # latest first: the rest is older and seen
            if dispatch.number <= admitted or now_s - dispatch.sent_at_s >= PENDING_S:
                return
            yield dispatch
