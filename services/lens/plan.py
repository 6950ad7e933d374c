"""Which sequences run how many tokens in the next step: decodes first, then prefill in order of arrival within a budget."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from services.lens.budget import prefill_budget_tokens
from services.lens.sequence import Sequence
from shared.steptime import StepModel, StepShape


class PlanLimits(NamedTuple):
    """What bounds a step."""

    max_step_tokens: int
    """The most tokens that the engine runs in a step."""
    least_prefill_tokens: int
    """Prefill tokens that a step may always run, whatever they take."""
    target_s: float
    """The step time to fill."""


class Allotment(NamedTuple):
    """The tokens that one sequence runs in the step."""

    sequence: Sequence
    num_tokens: int
    is_prefill: bool


def plan_step(
    running: Iterable[Sequence],
    admissible: Iterable[Sequence],
    *,
    model: StepModel,
    limits: PlanLimits,
) -> tuple[Allotment, ...]:
    """The next step, decodes first; empty where there is nothing to run.

    Args:
        running: sequences in the engine, in order of admission.
        admissible: sequences that could join now, in the order in which they should.
    """
    running = tuple(running)
    decodes = tuple(Allotment(s, 1, is_prefill=False) for s in running if s.can_decode)[: limits.max_step_tokens]
    prefills = (s for s in (*running, *admissible) if s.prefill_tokens_left)
    return (*decodes, *_fill(shape_of(decodes), prefills, model, limits))


def _fill(step: StepShape, prefills: Iterable[Sequence], model: StepModel, limits: PlanLimits) -> Iterator[Allotment]:
    """Prefill chunks, each as large as the step with all before it allows; the last may be a part of its prompt."""
    least_tokens = limits.least_prefill_tokens
    room_tokens = limits.max_step_tokens - int(step.num_tokens)
    for sequence in prefills:
        num_tokens = prefill_budget_tokens(
            model,
            step,
            target_s=limits.target_s,
            most_tokens=min(sequence.prefill_tokens_left, room_tokens),
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
        if num_tokens < sequence.prefill_tokens_left:
            return


def shape_of(allotments: Iterable[Allotment]) -> StepShape:
    """The step as the step model sees it; taken before the sequences advance."""
    batch_size = num_tokens = kv_tokens = prefill_seqs = 0
    attention_work = 0.0
    for sequence, tokens, is_prefill in allotments:
        batch_size += 1
        num_tokens += tokens
        kv_tokens += sequence.cached_tokens
        if is_prefill:
            prefill_seqs += 1
            attention_work += tokens * (sequence.cached_tokens + tokens / 2)
    return StepShape(batch_size, num_tokens, kv_tokens, attention_work, prefill_seqs)
