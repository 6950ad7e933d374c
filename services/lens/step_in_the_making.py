"""A step as it is put together: answers, then chunks of prompts, as large as the promises to those in it allow. Pure."""

import math
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain
from operator import attrgetter

from services.lens.budget import prefill_budget_tokens
from services.lens.plan import PlanLimits, Queue
from services.lens.promise import MOST_GAP_PACES, Promise, promise_of
from services.lens.relegated import is_forgotten
from services.lens.sequence import Allotment, Sequence
from shared.step import NO_SLOT
from shared.steptime import StepModel, StepShape

MOST_CAUTION = 1.5
"""Steps are foreseen to take no more than so many times the expected time, however little the model knows: with a cold one
nothing would be planned."""
PROBE_TOKENS = 512
"""The prompt tokens beside a step's decodes by which the speed of prefill is judged."""

EMPTY = StepShape(0, 0)
_RUNS_UNTIL_S, _CACHED_TOKENS = attrgetter("runs_until_s"), attrgetter("cached_tokens")
_IS_LOST = attrgetter("is_lost")


class StepInTheMaking:
    """A step in the making."""

    def __init__(self, queue: Queue, model: StepModel, limits: PlanLimits) -> None:
        self.allotments: list[Allotment] = []
        self._queue = queue
        self._model = model
        self._limits = limits
        self._caution = min(model.upper_ratio, MOST_CAUTION)
        self._shape = EMPTY
        self._shape_s = 0.0
        self._room = queue.room
        self._is_full = False
        self._joining: Sequence | None = None
        """One that waits, and has room already."""

    def run_decodes(self, given_up: AbstractSet[Sequence] = frozenset()) -> Promise:
        """A token for every answer whose targets can be kept, and for others where that breaks none.

        Args:
            given_up: from now on, for others' sake.
        """
        starts_s, most = self._queue.starts_s, self._limits.max_step_tokens
        # As `can_decode` says; a call for each of hundreds would take as long as the rest.
        decodes = [s for s in self._queue.running if not s.prefill_tokens_left and s.draws < s.max_output_tokens]
        if len(decodes) > most:
            decodes = sorted(decodes, key=_RUNS_UNTIL_S)[:most]
        if not decodes:
            return Promise([], math.inf, math.inf)
        pursued = decodes
        if given_up or any(map(_IS_LOST, decodes)):
            pursued = [s for s in decodes if not s.is_lost and s not in given_up]
        self._decode(pursued or decodes)
        promise = promise_of(pursued or decodes, starts_s, self._shape_s, are_lost=not pursued)
        if len(promise.kept) < len(decodes):
            if 0 < len(pursued) < len(decodes):
                self._decode(decodes)
            if promise.kept and self._shape_s > promise.limit_s:
                kept = set(promise.kept)
                self._decode([s for s in decodes if s in kept or not self._may_rest(s)])
        if given_up:
            self.allotments = [a._replace(is_relegated=True) if a.sequence in given_up else a for a in self.allotments]
        return promise

    def _may_rest(self, sequence: Sequence) -> bool:
        """Whether an answer may be left out of this step, and have its next token a step later, within the cap of gaps."""
        cap_s = MOST_GAP_PACES * max(sequence.pace_s, self._shape_s)
        return self._queue.starts_s + 2 * self._shape_s - sequence.runs_until_s <= cap_s

    def _decode(self, decodes: list[Sequence]) -> None:
        self.allotments = [sequence.decode for sequence in decodes]
        self._shape = StepShape(len(decodes), len(decodes), sum(map(_CACHED_TOKENS, decodes)))
        self._shape_s = self._foreseen_s(self._shape)

    def prefill_tokens_per_s(self, pace_s: float) -> float:
        """How fast prompts are computed beside the decodes, if steps take `pace_s` on average; infinite: as long as they can."""
        most_tokens = self._limits.max_step_tokens - len(self.allotments)
        if math.isinf(pace_s):
            return _rate(most_tokens, self._foreseen_s(self._shape.with_chunk(most_tokens, 0)))
        rate = _rate(PROBE_TOKENS, self._foreseen_s(self._shape.with_chunk(PROBE_TOKENS, 0)) - self._shape_s)
        if math.isinf(rate):
            return rate
        tokens = max((pace_s - self._shape_s) * rate, self._limits.least_prefill_tokens, 1)
        return min(tokens, most_tokens) / pace_s

    def run_prefills(self, on_time: Iterable[Sequence], relegated: Iterator[Sequence], limit_s: float) -> None:
        """Chunks as large as the step may be: of prompts on time, then of others. The first of either gets on in any case."""
        first = next(relegated, None)
        kept_tokens = 0
        if first is not None:
            relegated = chain((first,), relegated)
            kept_tokens = self._let_in(first)
        least_tokens = self._limits.least_prefill_tokens
        for sequence in self._fitting(on_time):
            num_tokens = self._run_chunk(sequence, limit_s, least_tokens, kept_tokens)
            least_tokens = max(least_tokens - num_tokens, 0)
            if num_tokens < sequence.prefill_tokens_left:
                limit_s = 0.0
                break
            # It has its first token when the step ends.
            limit_s = min(limit_s, max(sequence.due_s - self._queue.starts_s, self._foreseen_s(self._shape)))
        least_tokens = self._limits.least_prefill_tokens
        for sequence in self._fitting(relegated):
            num_tokens = self._run_chunk(sequence, limit_s, least_tokens, is_relegated=True)
            least_tokens = max(least_tokens - num_tokens, 0)
            if num_tokens < sequence.prefill_tokens_left:
                return

    def _let_in(self, relegated: Sequence) -> int:
        """See that a relegated prompt gets on however many others come; how many tokens of the step to keep for it."""
        if relegated.slot == NO_SLOT and is_forgotten(relegated, self._queue.starts_s):
            room = self._room.without(relegated)
            if room is None:
                self._is_full = True  # nobody joins before it does
            else:
                self._room = room
                self._joining = relegated
        return min(self._limits.least_prefill_tokens, self._limits.max_step_tokens // 2)

    def _fitting(self, prefills: Iterable[Sequence]) -> Iterator[Sequence]:
        """Who is in the engine, and who waits until one has no room: it holds back those behind it."""
        for sequence in prefills:
            if sequence.slot == NO_SLOT and sequence is not self._joining:
                self._is_full = self._is_full or self._room.without(sequence) is None
                if self._is_full:
                    continue
            yield sequence

    def _run_chunk(
        self, sequence: Sequence, limit_s: float, least_tokens: int, kept_tokens: int = 0, *, is_relegated: bool = False
    ) -> int:
        """Run as much of its prompt as fits in the step, and how much that is.

        Args:
            least_tokens: what it may run whatever that takes.
            kept_tokens: of the step's most, what is kept for others.
        """
        most_tokens = self._limits.max_step_tokens - int(self._shape.num_tokens) - kept_tokens
        num_tokens = prefill_budget_tokens(
            self._model,
            self._shape,
            target_s=limit_s / self._caution,
            most_tokens=min(sequence.prefill_tokens_left, most_tokens),
            least_tokens=least_tokens,
            cached_tokens=sequence.cached_tokens,
        )
        if num_tokens:
            if sequence.slot == NO_SLOT and sequence is not self._joining:
                room = self._room.without(sequence)
                assert room is not None, "it fits"
                self._room = room
            self.allotments.append(Allotment(sequence, num_tokens, is_prefill=True, is_relegated=is_relegated))
            self._shape = self._shape.with_chunk(num_tokens, sequence.cached_tokens)
        return num_tokens

    def _foreseen_s(self, shape: StepShape) -> float:
        """The upper quantile of a step's time."""
        return float(self._model.step_time_s(shape)) * self._caution


def _rate(tokens: int, duration_s: float) -> float:
    """Tokens a second; infinite where they take no time."""
    return tokens / duration_s if duration_s > 0.0 else math.inf
