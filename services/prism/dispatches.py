"""What this replica has sent and the engines' states do not show yet, so that a burst does not stampede one engine."""

import itertools
import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from shared.engine_state import DUE_EDGES_S, DUE_INTERVALS, EngineState

PENDING_S = 5.0
"""A dispatch that no state has echoed for so long is not on its way any more."""
SUSPECT_S = 2.0
"""How long an engine that failed is passed over while there are others; within that its key expires if it is gone."""
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
    interval: int = DUE_INTERVALS - 1
    """Of `DUE_EDGES_S`, in which its first token was due when it was sent."""


class Load(msgspec.Struct, frozen=True):
    """What this replica knows of an engine beyond its state."""

    outstanding_requests: int = 0
    """Sent and not ended."""
    pending_requests: int = 0
    """Of those, sent too lately for the state to count them."""
    pending_tokens_by_due: tuple[int, ...] = (0,) * DUE_INTERVALS
    """The prompt tokens of those, in the intervals of `DUE_EDGES_S`."""
    pending_prompts_by_due: tuple[int, ...] = (0,) * DUE_INTERVALS
    suspect: bool = False
    """It failed a request a moment ago."""
    recent_first_byte_s: float | None = None
    """From sending to an answer's first byte, a mean that forgets; None where none came of late."""

    @property
    def pending_prompt_tokens(self) -> int:
        """Of all that are pending."""
        return sum(self.pending_tokens_by_due)


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
        self._failed_at_s: dict[str, float] = {}
        self._first_bytes: dict[str, _FirstBytes] = {}

    def send(self, engine: str, prompt_tokens: int, now_s: float, due_in_s: float = math.inf) -> Dispatch:
        """Number a request that is about to be sent, whose first token is due so soon."""
        number = next(self._numbers.setdefault(engine, itertools.count(1)))
        dispatch = Dispatch(engine, number, prompt_tokens, now_s, bisect_left(DUE_EDGES_S, due_in_s))
        self._outstanding.setdefault(engine, {})[number] = dispatch
        return dispatch

    def answered(self, dispatch: Dispatch, now_s: float) -> None:
        """The first byte of the answer is here."""
        took_s = now_s - dispatch.sent_at_s
        mean_s = self._recent_first_byte_s(dispatch.engine, now_s)
        mean_s = took_s if mean_s is None else mean_s + FIRST_BYTE_GAIN * (took_s - mean_s)
        self._first_bytes[dispatch.engine] = _FirstBytes(mean_s, now_s)

    def end(self, dispatch: Dispatch) -> None:
        """The request has left its engine, however it ended."""
        del self._outstanding[dispatch.engine][dispatch.number]

    def failed(self, engine: str, now_s: float) -> None:
        """The engine could not be reached, or said that it cannot serve."""
        self._failed_at_s[engine] = now_s

    def load(self, state: EngineState, now_s: float) -> Load:
        """What this replica's requests add to a state."""
        outstanding = self._outstanding.get(state.engine, {})
        pending = list(self._unseen(list(outstanding.values()), state.admitted.get(self.replica, 0), now_s))
        tokens, prompts = [0] * DUE_INTERVALS, [0] * DUE_INTERVALS
        for dispatch in pending:
            tokens[dispatch.interval] += dispatch.prompt_tokens
            prompts[dispatch.interval] += 1
        return Load(
            outstanding_requests=len(outstanding),
            pending_requests=len(pending),
            pending_tokens_by_due=tuple(tokens),
            pending_prompts_by_due=tuple(prompts),
            suspect=now_s - self._failed_at_s.get(state.engine, -SUSPECT_S) < SUSPECT_S,
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
