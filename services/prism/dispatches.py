"""What has been sent and the engines' states do not show yet, so that a burst does not stampede one engine. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from services.prism.breaker import Breaker, BreakerState
from services.prism.fleet import Fleet
from services.prism.pending import NOTHING, Pending, interval_of
from shared.engine_state import EngineState
from shared.names import RESERVATION_LIFETIME_S

PENDING_S = float(RESERVATION_LIFETIME_S)
"""A dispatch that no state has echoed for so long is not on its way any more."""
MUCH = 0.05
"""Of what was thought to be ahead of a request: so much more there is another choice to be made. What foresight sees of two
engines that differ by less is a tie."""
LOOK_AGAIN_S = 1.0
"""As often all is looked at: first bytes grow old by themselves."""
RECENT_S = 10.0
"""For how long an answer's first byte says something of its engine."""
FIRST_BYTE_GAIN = 0.2
"""Of the newest in their mean."""
FORGET_AFTER_S = 60.0
"""Of an engine that has left the fleet and where nothing is outstanding, so long ago, only the number of its last dispatch is kept."""
MOST_NUMBERED = 4096
"""Engines whose numbers are kept; beyond that, of those least lately sent to only the highest number of all."""


class Dispatch(msgspec.Struct, frozen=True):
    """One request sent to one engine; numbers count from 1, by engine."""

    engine: str
    number: int
    prompt_tokens: int
    sent_at_s: float
    interval: int
    """Of `DUE_EDGES_S`, from 0, in which its first token was due when it was sent."""

    def name(self, replica: str) -> str:
        """As engines and reservations have it."""
        return f"{replica}:{self.number}"


class Placed(NamedTuple):
    """A dispatch for which room is reserved, while it may still go elsewhere."""

    dispatch: Dispatch
    reserved: Pending
    """On its engine just then, itself included."""

    def moved_much(self, state: EngineState, assumed: "Load") -> bool:
        """Whether others took its engine between the reading and the reserving: `MUCH` more requests are there, or tokens.

        Args:
            state: of the engine.
            assumed: by which the engine was chosen.
        """
        requests = state.decode_seqs + state.prefill_seqs + state.waiting_requests + assumed.pending_requests
        tokens = state.waiting_prefill_tokens + assumed.pending_prompt_tokens
        own_tokens = self.dispatch.prompt_tokens
        return self.reserved.requests - 1 - assumed.pending_requests > MUCH * (
            requests + 1
        ) or self.reserved.prompt_tokens - own_tokens - assumed.pending_prompt_tokens > MUCH * (tokens + own_tokens)


class Load(msgspec.Struct, frozen=True):
    """What this replica knows of an engine beyond its state."""

    outstanding_requests: int = 0
    """Of this replica, sent and not ended."""
    pending: Pending = NOTHING
    """Of all replicas, sent too lately for the state to count them; of this one alone while Redis is away."""
    suspect: bool = False
    """It has failed, and is passed over while there are others."""
    recent_first_byte_s: float | None = None
    """From sending to an answer's first byte, a mean that forgets; None where none came of late."""

    @property
    def pending_requests(self) -> int:
        """Of all intervals."""
        return self.pending.requests

    @property
    def pending_prompt_tokens(self) -> int:
        """Of all intervals."""
        return self.pending.prompt_tokens


NO_LOAD = Load()


class _FirstBytes(NamedTuple):
    mean_s: float
    latest_at_s: float


class Dispatches:
    """A ledger of the requests that this replica has at each engine. Times are seconds on any one clock."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._numbers: dict[str, int] = {}
        """Of the last dispatch, by engine, the least lately sent to first."""
        self._number_forgotten = 0
        """The highest of engines whose own is not kept: one that returns may still know it, and would take lower ones for seen."""
        self._outstanding: dict[str, dict[int, Dispatch]] = {}
        """By engine and number, in order of sending."""
        self._unreserved: dict[str, dict[int, Dispatch]] = {}
        """Of those, the ones that are not in the totals that Redis has said."""
        self._breakers: dict[str, Breaker] = {}
        """Of engines that have failed once."""
        self._first_bytes: dict[str, _FirstBytes] = {}
        self._loads: dict[str, Load] = {}
        """Of the engines where there is anything, as they were last looked at."""
        self._changed: set[str] = set()
        """Engines to be looked at anew."""
        self._totals: Mapping[str, Pending] | None = None
        self._all_looked_at_s = -math.inf
        self._seen_at_s: dict[str, float] = {}
        """When engines were last in the fleet, as far as anybody looked."""

    def send(self, engine: str, prompt_tokens: int, now_s: float, due_in_s: float = math.inf) -> Dispatch:
        """Number a request that is about to be sent, whose first token is due so soon."""
        number = self._next_number(engine)
        dispatch = Dispatch(engine, number, prompt_tokens, now_s, interval_of(due_in_s))
        for ledger in (self._outstanding, self._unreserved):
            ledger.setdefault(engine, {})[number] = dispatch
        if (breaker := self._breakers.get(engine)) is not None:
            breaker.sent(now_s)
        self._changed.add(engine)
        return dispatch

    def _next_number(self, engine: str) -> int:
        number = self._numbers.pop(engine, self._number_forgotten) + 1
        self._numbers[engine] = number
        if len(self._numbers) > MOST_NUMBERED:
            self._number_forgotten = max(self._number_forgotten, self._numbers.pop(next(iter(self._numbers))))
        return number

    def reserved(self, dispatch: Dispatch) -> None:
        """The totals that are known from now on have it."""
        _strike(self._unreserved, dispatch)
        self._changed.add(dispatch.engine)

    def answered(self, dispatch: Dispatch, now_s: float) -> None:
        """The first byte of the answer is here."""
        took_s = now_s - dispatch.sent_at_s
        mean_s = self._recent_first_byte_s(dispatch.engine, now_s)
        mean_s = took_s if mean_s is None else mean_s + FIRST_BYTE_GAIN * (took_s - mean_s)
        self._first_bytes[dispatch.engine] = _FirstBytes(mean_s, now_s)
        self._changed.add(dispatch.engine)
        self.well(dispatch)

    def end(self, dispatch: Dispatch) -> None:
        """The request has left its engine, however it ended."""
        for ledger in (self._outstanding, self._unreserved):
            _strike(ledger, dispatch)
        if (breaker := self._breakers.get(dispatch.engine)) is not None:
            breaker.left(dispatch.sent_at_s)
        self._changed.add(dispatch.engine)

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

    def loads(self, fleet: Fleet, now_s: float, *, placed: Placed | None = None) -> Mapping[str, Load]:
        """What is known beyond the states, of the engines where there is anything.

        Args:
            fleet: all of it.
            placed: it is to be chosen for anew. On its engine counts what was there before it: those who came after it find it
                there, and may go elsewhere. If each made room for all others, all would move at once.
        """
        self._note_totals(fleet.reserved)
        if now_s - self._all_looked_at_s > LOOK_AGAIN_S:
            self._forget_who_left(fleet, now_s)
            self._changed.update(self._loads)
            self._all_looked_at_s = now_s
        # What is not in the totals, and what an open breaker says, changes with time alone.
        changed = self._changed | self._unreserved.keys() | self._breakers.keys()
        self._changed.clear()
        nothing = None if fleet.reserved is None else NOTHING
        places = fleet.pool.places
        for name in changed:
            if (place := places.get(name)) is not None:
                load = self.load(fleet.engines[place].state, now_s, (fleet.reserved or {}).get(name, nothing))
                if load == NO_LOAD:
                    self._loads.pop(name, None)
                else:
                    self._loads[name] = load
        if placed is None or placed.dispatch.engine not in self._loads:
            return self._loads
        return {**self._loads, placed.dispatch.engine: _before(placed, self._loads[placed.dispatch.engine])}

    def _forget_who_left(self, fleet: Fleet, now_s: float) -> None:
        for engine in self._breakers.keys() | self._first_bytes.keys() | self._loads.keys():
            self._seen_at_s.setdefault(engine, now_s)
        self._seen_at_s.update(dict.fromkeys([engine.state.engine for engine in fleet.engines], now_s))
        for engine in [name for name, seen_at_s in self._seen_at_s.items() if now_s - seen_at_s > FORGET_AFTER_S]:
            if engine not in self._outstanding:
                for known in (self._seen_at_s, self._breakers, self._first_bytes, self._loads):
                    known.pop(engine, None)

    def _note_totals(self, totals: Mapping[str, Pending] | None) -> None:
        before = self._totals
        if totals is before:
            return
        if totals is None or before is None:
            self._changed.update(self._loads, self._outstanding, totals or ())
        else:
            self._changed.update([name for name, total in totals.items() if before.get(name) is not total])
            self._changed.update(before.keys() - totals.keys())
        self._totals = totals

    def load(self, state: EngineState, now_s: float, reserved: Pending | None = None) -> Load:
        """What is known of an engine beyond its state.

        Args:
            reserved: by all replicas, as Redis has said; None where it cannot say.
        """
        outstanding = self._outstanding.get(state.engine, {})
        uncounted = outstanding if reserved is None else self._unreserved.get(state.engine, {})
        pending = reserved or NOTHING
        if uncounted:
            unseen = self._unseen(list(uncounted.values()), state.admitted.get(self.replica, 0), now_s)
            pending = pending.plus(Pending.of((dispatch.interval, dispatch.prompt_tokens) for dispatch in unseen))
        return Load(
            outstanding_requests=len(outstanding),
            pending=pending,
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


def _before(placed: Placed, load: Load) -> Load:
    """What was on its engine before it, of that what is still on its way."""
    own = Pending.of([(placed.dispatch.interval, placed.dispatch.prompt_tokens)])
    return msgspec.structs.replace(
        load,
        outstanding_requests=load.outstanding_requests - 1,
        pending=load.pending.at_most(placed.reserved).minus(own),
    )


def _strike(ledger: dict[str, dict[int, Dispatch]], dispatch: Dispatch) -> None:
    """Take it out, if it is there; no engine is kept for nothing."""
    of_engine = ledger.get(dispatch.engine)
    if of_engine is not None:
        of_engine.pop(dispatch.number, None)
        if not of_engine:
            del ledger[dispatch.engine]
