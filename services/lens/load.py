"""What an engine's lens holds and is given, as a router wants to know it. Pure."""

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable

import msgspec

from services.lens.sequence import Sequence
from shared.engine_state import DUE_EDGES_S, DUE_INTERVALS

RATES_FORGET_S = 10.0
"""What came so long ago counts for a third of what comes now: about as long as answers take."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Of one engine at one moment."""

    decode_seqs: int
    prefill_seqs: int
    kv_tokens: int
    kv_blocks_free: int
    waiting_requests: int
    waiting_prefill_tokens: int
    prefill_tokens_by_due: tuple[int, ...]
    """Of those that are not late yet, in the intervals of `DUE_EDGES_S`."""
    prefills_by_due: tuple[int, ...]
    arriving_tokens_per_s: tuple[float, ...]
    arriving_per_s: float
    pace_s: float
    """The least that any of the answers that run, and began in time, is paced at; infinite where none does."""
    credit_s: float
    """So much longer than that may the next step take."""
    in_flight_s: float
    """Of the steps on their way, the first half over: what a newcomer waits for before its own first step."""


def load_of(
    live: Collection[Sequence],
    waiting: Collection[Sequence],
    *,
    kv_blocks_free: int,
    in_flight_s: float,
    arrivals: "Arrivals",
    now_s: float,
) -> Load:
    """The load that these are.

    Args:
        live: in the engine, and not ended.
        now_s: on the clock of their arrivals.
    """
    prefills = [s for s in (*live, *waiting) if s.prefill_tokens_left]
    tokens_by_due, requests_by_due = _by_due(prefills, now_s)
    paced = [s for s in live if not s.prefill_tokens_left and not s.is_lost]
    pace_s = min((s.pace_s for s in paced), default=math.inf)
    least_due_s = min((s.due_s for s in paced), default=0.0)
    return Load(
        decode_seqs=sum(s.prefill_tokens_left == 0 for s in live),
        prefill_seqs=sum(s.prefill_tokens_left > 0 for s in live),
        kv_tokens=sum(s.cached_tokens for s in live),
        kv_blocks_free=kv_blocks_free,
        waiting_requests=len(waiting),
        waiting_prefill_tokens=sum(s.prefill_tokens_left for s in prefills),
        prefill_tokens_by_due=tokens_by_due,
        prefills_by_due=requests_by_due,
        arriving_tokens_per_s=arrivals.tokens_per_s(now_s),
        arriving_per_s=arrivals.per_s(now_s),
        pace_s=pace_s,
        credit_s=max(least_due_s - now_s - in_flight_s - pace_s, 0.0) if paced else 0.0,
        in_flight_s=in_flight_s,
    )


def _by_due(prefills: Iterable[Sequence], now_s: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    tokens, requests = [0] * DUE_INTERVALS, [0] * DUE_INTERVALS
    for sequence in prefills:
        if sequence.due_s > now_s and not sequence.is_lost:
            interval = bisect_left(DUE_EDGES_S, sequence.due_s - now_s)
            tokens[interval] += sequence.prefill_tokens_left
            requests[interval] += 1
    return tuple(tokens), tuple(requests)


class Arrivals:
    """How many prompt tokens come a second, by the time that their requests are given for a first token."""

    def __init__(self) -> None:
        self._tokens = [0.0] * DUE_INTERVALS
        self._requests = 0.0
        """As if what came earlier had been less, the more the longer ago."""
        self._began_s: float | None = None
        self._now_s = 0.0

    def note(self, sequence: Sequence) -> None:
        """A sequence arrives."""
        self._forget(sequence.arrival_s)
        self._tokens[bisect_left(DUE_EDGES_S, sequence.given_s)] += sequence.prefill_tokens_left
        self._requests += 1.0

    def tokens_per_s(self, now_s: float) -> tuple[float, ...]:
        """The rates, of at least a second's arrivals; by interval of `DUE_EDGES_S`."""
        weight_s = self._weight_s(now_s)
        return tuple([tokens / weight_s for tokens in self._tokens])

    def per_s(self, now_s: float) -> float:
        """Requests, whatever they were given."""
        weight_s = self._weight_s(now_s)
        return self._requests / weight_s

    def _weight_s(self, now_s: float) -> float:
        self._forget(now_s)
        assert self._began_s is not None, "it has begun to forget"
        seen_s = max(now_s - self._began_s, 1.0)
        return RATES_FORGET_S * (1.0 - math.exp(-seen_s / RATES_FORGET_S))

    def _forget(self, now_s: float) -> None:
        if self._began_s is None:
            self._began_s = self._now_s = now_s
        kept = math.exp(-max(now_s - self._now_s, 0.0) / RATES_FORGET_S)
        self._tokens = [kept * tokens for tokens in self._tokens]
        self._requests *= kept
        self._now_s = max(now_s, self._now_s)
