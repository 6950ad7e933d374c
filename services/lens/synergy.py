"""Our planner: each step as large as the promises to those in it allow, spent on the prompts that can still be on time. Pure."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import chain
from operator import add, attrgetter
from typing import Any, NamedTuple

from services.lens.budget import prefill_budget_tokens
from services.lens.giving_up import give_up_tightest
from services.lens.plan import PlanLimits, Queue
from services.lens.sequence import Allotment, Sequence
from services.lens.triage import triage
from shared.step import NO_SLOT
from shared.steptime import StepModel, StepShape

MOST_GAP_PACES = 4.0
"""However far ahead an answer is, no gap between two of its tokens is longer than so many TPOT targets."""
CATCH_UP = 0.8
"""Of its TPOT target is what a step may take that carries an answer which is behind and can still catch up."""
MOST_CAUTION = 1.5
"""Steps are foreseen to take no more than so many times the expected time, however little the model knows: with a cold one
nothing would be planned."""
PROBE_TOKENS = 512
"""The prompt tokens beside a step's decodes by which the speed of prefill is judged."""
PATIENCE_S = 30.0
"""After it should have had its first token, a prompt that waits is let in before all others."""
STALLED_S = 5.0
"""And so soon an answer that has begun, and has to be recomputed: somebody is reading it."""

EMPTY = StepShape(0, 0)
Sequences = list[Sequence]
_DUE_S, _PACE_S = attrgetter("due_s"), attrgetter("pace_s")
_ARRIVAL_S, _RUNS_UNTIL_S = attrgetter("arrival_s"), attrgetter("runs_until_s")
_CACHED_TOKENS, _IS_LOST = attrgetter("cached_tokens"), attrgetter("is_lost")
_PRIORITY, _TENANT, _DRAWS = attrgetter("priority"), attrgetter("tenant"), attrgetter("draws")


class Promise(NamedTuple):
    """What the answers that run demand of the next step."""

    kept: Sequences
    """That can keep their targets."""
    limit_s: float
    """So long may the step take."""
    pace_s: float
    """And so long steps on average."""


def synergy(
    queue: Queue, model: StepModel, limits: PlanLimits, *, budget_tokens: int | None = None
) -> tuple[Allotment, ...]:
    """Answers first, then prompts that can be on time by what is due first, then those that cannot.

    Args:
        budget_tokens: what every step may run, in place of what the promises allow: to tell what that is worth.
    """
    if budget_tokens is not None:
        limits = limits._replace(max_step_tokens=min(budget_tokens, limits.max_step_tokens))
    step = _Step(queue, model, limits)
    promise = step.run_decodes()
    if budget_tokens is not None:
        promise = promise._replace(limit_s=math.inf, pace_s=math.inf)
    # Where all that run decode, none of them has a prompt to compute.
    prefills = [s for s in queue.running if s.prefill_tokens_left] if len(step.allotments) < len(queue.running) else []
    if queue.room.slots and queue.room.blocks > 0:
        prefills += queue.waiting
    if prefills and len(step.allotments) < limits.max_step_tokens:
        rate = step.prefill_tokens_per_s(promise.pace_s)
        interrupted, fresh, lost = _by_standing(prefills)
        on_time, relegated = triage(
            fresh, starts_s=queue.starts_s, tokens_per_s=rate, served_tokens=queue.served_tokens
        )
        if promise.kept and budget_tokens is None and any(s.due_s > queue.starts_s for s in relegated):
            given_up = give_up_tightest(
                promise.kept,
                fresh,
                kept=len(on_time),
                tokens_per_s=step.prefill_tokens_per_s,
                starts_s=queue.starts_s,
                served_tokens=queue.served_tokens,
            )
            if given_up is not None:
                promise = step.run_decodes(given_up.answers)
                on_time, relegated = given_up.prompts
        if interrupted:
            on_time = sorted((*interrupted, *on_time), key=_PRIORITY, reverse=True)
        step.run_prefills(on_time, _turns([*lost, *relegated], queue), promise.limit_s)
    return tuple(step.allotments)


def _by_standing(prefills: Sequences) -> tuple[Sequences, Sequences, Sequences]:
    """Answers that had begun in time and are recomputed; prompts; and answers recomputed whose targets nothing can keep any more."""
    if not any(map(_DRAWS, prefills)) and not any(map(_IS_LOST, prefills)):
        return [], prefills, []
    interrupted = [s for s in prefills if s.draws and not s.is_lost]
    fresh = [s for s in prefills if not s.draws and not s.is_lost]
    return interrupted, fresh, [s for s in prefills if s.is_lost]


def _turns(relegated: Sequences, queue: Queue) -> Iterator[Sequence]:
    """Who is next of those that cannot be on time. Few of them get on in a step, so that they are not sorted before the first has.

    Those that have waited for too long go before all, and who came first of them, so that nobody waits for ever. Then who has begun to
    answer, of higher priority first, whose tenant had least, and who came first.
    """

    def turn(sequence: Sequence) -> tuple[bool, bool, int, float, float]:
        if _is_forgotten(sequence, queue.starts_s):
            return False, False, 0, 0.0, sequence.arrival_s
        served_tokens = queue.served_tokens.get(sequence.tenant, 0.0)
        return True, not sequence.draws, -sequence.priority, served_tokens, sequence.arrival_s

    if not relegated:
        return
    are_equal = len(set(map(_PRIORITY, relegated))) == 1 and not any(map(_DRAWS, relegated))
    are_equal &= len(queue.served_tokens) <= 1 or len(set(map(_TENANT, relegated))) == 1
    key: Callable[[Sequence], Any] = _ARRIVAL_S if are_equal else turn
    first = min(relegated, key=key)
    yield first
    yield from (sequence for sequence in sorted(relegated, key=key) if sequence is not first)


def _is_forgotten(relegated: Sequence, starts_s: float) -> bool:
    """Whether it has waited for so long that it is let in before all others."""
    if relegated.draws:
        return starts_s - relegated.runs_until_s > STALLED_S
    return starts_s - relegated.due_s > PATIENCE_S


class _Step:
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
        promise = _promise(pursued or decodes, starts_s, self._shape_s, are_lost=not pursued)
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

    def _decode(self, decodes: Sequences) -> None:
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
        if relegated.slot == NO_SLOT and _is_forgotten(relegated, self._queue.starts_s):
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


def _promise(decodes: Sequences, starts_s: float, decode_s: float, *, are_lost: bool) -> Promise:
    """Of at least one answer; `decode_s` is what a step of nothing else takes."""
    ends_s = starts_s + decode_s
    pace_s = min(map(_PACE_S, decodes))
    # However soon somebody was promised a token, no step is shorter than one that does nothing else.
    cap_s = MOST_GAP_PACES * max(pace_s, decode_s)
    if are_lost:
        return Promise([], cap_s, cap_s)
    limit_s = cap_s
    on_time = [s for s in decodes if s.due_s >= ends_s]
    if on_time:
        limit_s = min(limit_s, _nobody_late_s(on_time, decode_s) - starts_s)
    if len(on_time) == len(decodes):
        return Promise(decodes, limit_s, pace_s)
    behind = [s for s in decodes if s.due_s < ends_s]
    # Lost is who is behind by more than it can catch up with in steps that do nothing else.
    lost = {s for s in behind if ends_s - s.due_s > (s.max_output_tokens - s.draws) * (s.pace_s - decode_s)}
    kept = decodes
    if lost:
        behind = [s for s in behind if s not in lost]
        kept = [*on_time, *behind]
        pace_s = min(map(_PACE_S, kept), default=cap_s)
    for sequence in behind:
        least_s = CATCH_UP * sequence.pace_s
        if limit_s > least_s:
            limit_s = max(min(limit_s, _nobody_late_s((sequence,), decode_s) - starts_s), least_s)
    return Promise(kept, limit_s, pace_s)


def _nobody_late_s(answers: Collection[Sequence], decode_s: float) -> float:
    """When a step must be over for all to be on time, in the next step too if that takes them longer than their pace."""
    due_s: float = min(map(_DUE_S, answers))
    next_due_s: float = min(map(add, map(_DUE_S, answers), map(_PACE_S, answers)))
    return min(due_s, next_due_s - decode_s)


def _rate(tokens: int, duration_s: float) -> float:
    """Tokens a second; infinite where they take no time."""
    return tokens / duration_s if duration_s > 0.0 else math.inf
