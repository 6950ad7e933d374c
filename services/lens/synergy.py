"""Our planner: each step as large as the promises to those in it allow, spent on the prompts that can still be on time. Pure."""

import math
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from services.lens.budget import prefill_budget_tokens
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

EMPTY = StepShape(0, 0)
Sequences = list[Sequence]
_DUE_S, _PACE_S = attrgetter("due_s"), attrgetter("pace_s")
_ARRIVAL_S, _RUNS_UNTIL_S = attrgetter("arrival_s"), attrgetter("runs_until_s")
_CACHED_TOKENS, _MISSED_FIRST = attrgetter("cached_tokens"), attrgetter("missed_first")


class Promise(NamedTuple):
    """What the answers that run demand of the next step."""

    broken: Sequences
    """That cannot keep their targets, whatever is done."""
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
    prefills = [s for s in queue.running if s.prefill_tokens_left]
    if queue.room.slots and queue.room.blocks:
        prefills += queue.waiting
    if prefills and len(step.allotments) < limits.max_step_tokens:
        rate = step.prefill_tokens_per_s(promise.pace_s)
        interrupted = [s for s in prefills if s.draws and not s.missed_first]
        fresh = [s for s in prefills if s not in interrupted] if interrupted else prefills
        on_time, relegated = triage(fresh, starts_s=queue.starts_s, tokens_per_s=rate)
        step.run_prefills([*interrupted, *on_time], relegated, promise.limit_s)
    return tuple(step.allotments)


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

    def run_decodes(self) -> Promise:
        """A token for every answer whose targets can be kept, and for others where that breaks none."""
        starts_s, most = self._queue.starts_s, self._limits.max_step_tokens
        # As `can_decode` says; a call for each of hundreds would take as long as the rest.
        decodes = [s for s in self._queue.running if not s.prefill_tokens_left and s.draws < s.max_output_tokens]
        if len(decodes) > most:
            decodes = sorted(decodes, key=_RUNS_UNTIL_S)[:most]
        if not decodes:
            return Promise([], math.inf, math.inf)
        promised = decodes
        if any(map(_MISSED_FIRST, decodes)):
            promised = [s for s in decodes if not s.missed_first] or decodes
        self._decode(promised)
        promise = _promise(promised, starts_s, self._shape_s)
        if promise.broken or len(promised) < len(decodes):
            kept = set(promised).difference(promise.broken)
            self._decode(decodes)
            if kept and self._shape_s > promise.limit_s:
                self._decode([s for s in decodes if s in kept or not self._may_rest(s)])
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
            return _rate(most_tokens, self._foreseen_s(_with_chunk(self._shape, most_tokens, 0)))
        rate = _rate(PROBE_TOKENS, self._foreseen_s(_with_chunk(self._shape, PROBE_TOKENS, 0)) - self._shape_s)
        if math.isinf(rate):
            return rate
        tokens = max((pace_s - self._shape_s) * rate, self._limits.least_prefill_tokens, 1)
        return min(tokens, most_tokens) / pace_s

    def run_prefills(self, on_time: Iterable[Sequence], relegated: Sequences, limit_s: float) -> None:
        """Chunks as large as the step may be: of prompts on time, then of others. The first of either gets on in any case."""
        relegated = sorted(relegated, key=_ARRIVAL_S)
        kept_tokens = self._let_the_oldest_in(relegated)
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
            num_tokens = self._run_chunk(sequence, limit_s, least_tokens)
            least_tokens = max(least_tokens - num_tokens, 0)
            if num_tokens < sequence.prefill_tokens_left:
                return

    def _let_the_oldest_in(self, relegated: Sequences) -> int:
        """See that a relegated prompt gets on however many others come; how many tokens of the step to keep for it."""
        if not relegated:
            return 0
        oldest, starts_s = relegated[0], self._queue.starts_s
        if oldest.slot == NO_SLOT and starts_s - oldest.due_s > PATIENCE_S:
            room = self._room.without(oldest)
            if room is None:
                self._is_full = True  # nobody joins before it does
            else:
                self._room = room
                self._joining = oldest
        return min(self._limits.least_prefill_tokens, self._limits.max_step_tokens // 2)

    def _fitting(self, prefills: Iterable[Sequence]) -> Iterator[Sequence]:
        """Who is in the engine, and who waits until one has no room: it holds back those behind it."""
        for sequence in prefills:
            if sequence.slot == NO_SLOT and sequence is not self._joining:
                self._is_full = self._is_full or self._room.without(sequence) is None
                if self._is_full:
                    continue
            yield sequence

    def _run_chunk(self, sequence: Sequence, limit_s: float, least_tokens: int, kept_tokens: int = 0) -> int:
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
            self.allotments.append(Allotment(sequence, num_tokens, is_prefill=True))
            self._shape = _with_chunk(self._shape, num_tokens, sequence.cached_tokens)
        return num_tokens

    def _foreseen_s(self, shape: StepShape) -> float:
        """The upper quantile of a step's time."""
        return float(self._model.step_time_s(shape)) * self._caution


def _promise(decodes: Sequences, starts_s: float, decode_s: float) -> Promise:
    """Of at least one answer; `decode_s` is what a step of nothing else takes."""
    ends_s = starts_s + decode_s
    pace_s = min(map(_PACE_S, decodes))
    # However soon somebody was promised a token, no step is shorter than one that does nothing else.
    cap_s = MOST_GAP_PACES * max(pace_s, decode_s)
    least_due_s = min(map(_DUE_S, decodes))
    if least_due_s >= ends_s and not any(map(_MISSED_FIRST, decodes)):
        return Promise([], min(least_due_s - starts_s - max(decode_s - pace_s, 0.0), cap_s), pace_s)
    broken: Sequences = []
    limit_s, pace_s = cap_s, cap_s
    for sequence in decodes:
        if sequence.missed_first or _is_lost(sequence, ends_s, decode_s):
            broken.append(sequence)
            continue
        slack_s = sequence.due_s - starts_s - max(decode_s - sequence.pace_s, 0.0)  # less what the next step will lack
        if sequence.due_s < ends_s:
            slack_s = max(slack_s, CATCH_UP * sequence.pace_s)
        limit_s, pace_s = min(limit_s, slack_s), min(pace_s, sequence.pace_s)
    return Promise(broken, limit_s, pace_s)


def _is_lost(sequence: Sequence, ends_s: float, decode_s: float) -> bool:
    """Whether an answer is behind by more than it can catch up with in steps that do nothing else."""
    behind_s = ends_s - sequence.due_s
    return behind_s > 0.0 and behind_s > (sequence.max_output_tokens - sequence.draws) * (sequence.pace_s - decode_s)


def _rate(tokens: int, duration_s: float) -> float:
    """Tokens a second; infinite where they take no time."""
    return tokens / duration_s if duration_s > 0.0 else math.inf


def _with_chunk(shape: StepShape, num_tokens: int, cached_tokens: int) -> StepShape:
    return StepShape(
        shape.batch_size + 1,
        shape.num_tokens + num_tokens,
        shape.kv_tokens + cached_tokens,
        shape.attention_work + num_tokens * (cached_tokens + num_tokens / 2),
        shape.prefill_seqs + 1,
    )
