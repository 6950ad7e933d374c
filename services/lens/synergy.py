"""Our planner: each step as large as the promises to those in it allow, spent on the prompts that can still be on time. Pure."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from services.lens.budget import prefill_budget_tokens
from services.lens.plan import Allotment, PlanLimits, Queue
from services.lens.sequence import Sequence
from services.lens.triage import triage
from shared.step import NO_SLOT
from shared.steptime import StepModel, StepShape

MOST_GAP_PACES = 4.0
"""However far ahead an answer is, no gap between two of its tokens is longer than so many TPOT targets."""
CATCH_UP = 0.8
"""Of its TPOT target is what a step may take that carries an answer which is behind and can still catch up."""
MOST_CAUTION = 1.5
"""A model that knows less than this of its steps is taken at so many times its word: a cold one would plan nothing."""
PROBE_TOKENS = 512
"""The prompt tokens beside a step's decodes by which the speed of prefill is judged."""


EMPTY = StepShape(0, 0)
Sequences = list[Sequence]


class Promise(NamedTuple):
    """What the answers that run demand of the next step."""

    broken: Sequences
    """That cannot keep their targets, whatever is done."""
    limit_s: float
    """So long may the step take."""
    pace_s: float
    """And so long steps on average."""


def synergy(queue: Queue, model: StepModel, limits: PlanLimits) -> tuple[Allotment, ...]:
    """Answers first, then prompts that can be on time by what is due first, then those that cannot."""
    step = _Step(queue, model, limits)
    promise = step.run_decodes()
    prefills = [s for s in queue.running if s.prefill_tokens_left]
    if queue.room.slots and queue.room.blocks:
        prefills += queue.waiting
    if prefills:
        on_time, relegated = triage(
            prefills, starts_s=queue.starts_s, tokens_per_s=step.prefill_tokens_per_s(promise.pace_s)
        )
        step.run_prefills(on_time, relegated, promise.limit_s)
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

    def run_decodes(self) -> Promise:
        """A token for every answer whose targets can be kept, and for others where that breaks none."""
        starts_s = self._queue.starts_s
        decodes = [s for s in self._queue.running if not s.prefill_tokens_left and s.draws < s.max_output_tokens]
        del decodes[self._limits.max_step_tokens :]
        if not decodes:
            return Promise([], math.inf, math.inf)
        self._decode(decodes)
        promise = _promise(decodes, starts_s, self._shape_s)
        if 0 < len(promise.broken) < len(decodes) and self._shape_s > promise.limit_s:
            resting = {s for s in promise.broken if starts_s - s.runs_until_s <= MOST_GAP_PACES * s.pace_s}
            self._decode([s for s in decodes if s not in resting])
        return promise

    def _decode(self, decodes: Sequences) -> None:
        self.allotments = [Allotment(sequence, 1, False) for sequence in decodes]
        self._shape = StepShape(len(decodes), len(decodes), sum([sequence.cached_tokens for sequence in decodes]))
        self._shape_s = self._foreseen_s(self._shape)

    def prefill_tokens_per_s(self, pace_s: float) -> float:
        """How fast prompts are computed beside the decodes, if steps take `pace_s` on average."""
        most_tokens = self._limits.max_step_tokens - len(self.allotments)
        chunk_tokens = PROBE_TOKENS if self.allotments else most_tokens
        chunk_s = self._foreseen_s(_with_chunk(self._shape, chunk_tokens, 0)) - self._shape_s
        if chunk_s <= 0.0:
            return math.inf
        tokens_per_s = chunk_tokens / chunk_s
        if math.isinf(pace_s):
            return tokens_per_s
        tokens = max((pace_s - self._shape_s) * tokens_per_s, self._limits.least_prefill_tokens)
        return min(tokens, most_tokens) / pace_s

    def run_prefills(self, on_time: Iterable[Sequence], relegated: Sequences, limit_s: float) -> None:
        """Chunks as large as the step may be: of prompts on time, then of others; the first of those gets on in any case."""
        for sequence in self._fitting(on_time):
            if self._run_chunk(sequence, limit_s) < sequence.prefill_tokens_left:
                limit_s = 0.0
                break
            # It has its first token when the step ends.
            limit_s = min(limit_s, max(sequence.due_s - self._queue.starts_s, self._foreseen_s(self._shape)))
        least_tokens = self._limits.least_prefill_tokens
        for sequence in self._fitting(relegated):
            num_tokens = self._run_chunk(sequence, limit_s, least_tokens)
            if num_tokens < sequence.prefill_tokens_left:
                return
            least_tokens = max(least_tokens - num_tokens, 0)

    def _fitting(self, prefills: Iterable[Sequence]) -> Iterator[Sequence]:
        """Who is in the engine, and who waits until one has no room: it holds back those behind it."""
        for sequence in prefills:
            if sequence.slot == NO_SLOT:
                self._is_full = self._is_full or self._room.without(sequence) is None
                if self._is_full:
                    continue
            yield sequence

    def _run_chunk(self, sequence: Sequence, limit_s: float, least_tokens: int = 0) -> int:
        """Run as much of its prompt as fits in the step, and how much that is."""
        most_tokens = self._limits.max_step_tokens - int(self._shape.num_tokens)
        num_tokens = prefill_budget_tokens(
            self._model,
            self._shape,
            target_s=limit_s / self._caution,
            most_tokens=min(sequence.prefill_tokens_left, most_tokens),
            least_tokens=least_tokens,
            cached_tokens=sequence.cached_tokens,
        )
        if num_tokens:
            if sequence.slot == NO_SLOT:
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
    cap_s = MOST_GAP_PACES * min([s.pace_s for s in decodes])
    well = [s for s in decodes if s.due_s >= ends_s and not s.missed_first]
    limit_s, pace_s = cap_s, math.inf
    if well:
        limit_s = min(min([s.due_s for s in well]) - starts_s, cap_s)
        pace_s = min([s.pace_s for s in well])
    if len(well) == len(decodes):
        return Promise([], limit_s, pace_s)
    broken: Sequences = []
    for sequence in decodes:
        if sequence.missed_first or _is_lost(sequence, ends_s, decode_s):
            broken.append(sequence)
        elif sequence.due_s < ends_s:
            limit_s = min(limit_s, max(sequence.due_s - starts_s, CATCH_UP * sequence.pace_s))
            pace_s = min(pace_s, sequence.pace_s)
    return Promise(broken, limit_s, pace_s)


def _is_lost(sequence: Sequence, ends_s: float, decode_s: float) -> bool:
    """Whether an answer is behind by more than it can catch up with in steps that do nothing else."""
    behind_s = ends_s - sequence.due_s
    return behind_s > 0.0 and behind_s > (sequence.max_output_tokens - sequence.draws) * (sequence.pace_s - decode_s)


def _with_chunk(shape: StepShape, num_tokens: int, cached_tokens: int) -> StepShape:
    return StepShape(
        shape.batch_size + 1,
        shape.num_tokens + num_tokens,
        shape.kv_tokens + cached_tokens,
        shape.attention_work + num_tokens * (cached_tokens + num_tokens / 2),
        shape.prefill_seqs + 1,
    )
