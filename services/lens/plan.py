"""What a planner is told and what it decides: which sequences run how many tokens in the next step.

Planners are pure: `synergy` is ours, `planners` has those to compare with.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from services.lens.budget import prefill_budget_tokens
from services.lens.sequence import Allotment, Sequence
from shared.steptime import StepModel, StepShape


class PlanLimits(NamedTuple):
    """What bounds a step."""

    max_step_tokens: int
    """The most tokens that the engine runs in a step."""
    least_prefill_tokens: int
    """Prefill tokens that a step may always run, whatever they take."""
    target_s: float
    """The longest step that routers are told to reckon with."""


class Room(NamedTuple):
    """What the engine has for sequences that are not in it yet."""

    slots: int
    blocks: int
    block_tokens: int

    def without(self, sequence: Sequence) -> "Room | None":
        """What is left when this one has joined; None where it does not fit."""
        blocks = self.blocks - -(-sequence.tokens_to_join // self.block_tokens)
        return Room(self.slots - 1, blocks, self.block_tokens) if self.slots and blocks >= 0 else None


class Queue(NamedTuple):
    """All sequences of an engine, and when it is."""

    running: Collection[Sequence]
    """In the engine, in order of admission; none that has ended."""
    waiting: Collection[Sequence]
    """In order of arrival."""
    room: Room
    now_s: float
    """On the clock of `Sequence.arrival_s`."""
    starts_s: float
    """When the step is foreseen to start: those on their way come first."""
    served_tokens: Mapping[str, float] = MappingProxyType({})
    """By tenant, since it came; 0 for one that is not in it."""

    @property
    def started(self) -> Iterator[Sequence]:
        """Those in the engine whose prompts are not computed yet."""
        return (sequence for sequence in self.running if sequence.prefill_tokens_left)

    def admissible(self, ordered: Iterable[Sequence]) -> Iterator[Sequence]:
        """Of these, who wait, those that fit in the engine: one that does not holds back those behind it."""
        room = self.room
        for sequence in ordered:
            left = room.without(sequence)
            if left is None:
                return
            room = left
            yield sequence


Planner = Callable[[Queue, StepModel, PlanLimits], tuple[Allotment, ...]]
"""Decides the next step, decodes first; empty where there is nothing to run. Those that wait and are in it join the engine."""


def decodes_of(running: Iterable[Sequence], most: int) -> tuple[Allotment, ...]:
    """A token for each sequence that can decode, as far as they go."""
    decoding = (s for s in running if s.can_decode)
    return tuple([sequence.decode for sequence in islice(decoding, most)])


def fill(
    decodes: Iterable[Allotment],
    prefills: Iterable[Sequence],
    model: StepModel,
    limits: PlanLimits,
    *,
    most_chunk_tokens: int | None = None,
) -> Iterator[Allotment]:
    """Prefill chunks, each as large as the step with all before it allows; the last may be a part of its prompt.

    Args:
        most_chunk_tokens: no chunk is larger; None leaves that to the limits.
    """
    step = shape_of(decodes)
    least_tokens = limits.least_prefill_tokens
    room_tokens = limits.max_step_tokens - int(step.num_tokens)
    for sequence in prefills:
        wanted_tokens = min(sequence.prefill_tokens_left, most_chunk_tokens or sequence.prefill_tokens_left)
        num_tokens = prefill_budget_tokens(
            model,
            step,
            target_s=limits.target_s,
            most_tokens=min(wanted_tokens, room_tokens),
            least_tokens=least_tokens,
            cached_tokens=sequence.cached_tokens,
        )
        if num_tokens == 0:
            return
        allotment = Allotment(sequence, num_tokens, is_prefill=True)
        yield allotment
        step = StepShape(*(a + b for a, b in zip(step, shape_of((allotment,)), strict=True)))
        room_tokens -= num_tokens
        least_tokens = max(least_tokens - num_tokens, 0)
        if num_tokens < wanted_tokens:
            return


def shape_of(allotments: Iterable[Allotment]) -> StepShape:
    """The step as the step model sees it; taken before the sequences advance."""
    batch_size = num_tokens = kv_tokens = prefill_seqs = 0
    attention_work = 0.0
    for sequence, tokens, is_prefill, _ in allotments:
        batch_size += 1
        num_tokens += tokens
        kv_tokens += sequence.cached_tokens
        if is_prefill:
            prefill_seqs += 1
            attention_work += tokens * (sequence.cached_tokens + tokens / 2)
    return StepShape(batch_size, num_tokens, kv_tokens, attention_work, prefill_seqs)
