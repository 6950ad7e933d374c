"""Our planner: each step as large as the promises to those in it allow, spent on the prompts that can still be on time. Pure."""

import math
from operator import attrgetter

from services.lens.giving_up import give_up_tightest
from services.lens.plan import PlanLimits, Queue
from services.lens.relegated import turns
from services.lens.sequence import Allotment, Sequence
from services.lens.step_in_the_making import StepInTheMaking
from services.lens.triage import triage
from shared.steptime import StepModel

_PRIORITY = attrgetter("priority")


def synergy(
    queue: Queue, model: StepModel, limits: PlanLimits, *, budget_tokens: int | None = None
) -> tuple[Allotment, ...]:
    """Answers first, then prompts that can be on time by what is due first, then those that cannot.

    Args:
        budget_tokens: what every step may run, in place of what the promises allow: to tell what that is worth.
    """
    if budget_tokens is not None:
        limits = limits._replace(max_step_tokens=min(budget_tokens, limits.max_step_tokens))
    step = StepInTheMaking(queue, model, limits)
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
        if promise.kept and budget_tokens is None and relegated and relegated[-1].due_s > queue.starts_s:
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
        step.run_prefills(on_time, turns([*lost, *relegated], queue), promise.limit_s)
    return tuple(step.allotments)


def _by_standing(prefills: list[Sequence]) -> tuple[list[Sequence], list[Sequence], list[Sequence]]:
    """Answers that had begun in time and are recomputed; prompts; and answers recomputed whose targets nothing can keep any more."""
    recomputed = [s for s in prefills if s.draws or s.is_lost]
    if not recomputed:
        return [], prefills, []
    fresh = [s for s in prefills if not s.draws and not s.is_lost]
    return [s for s in recomputed if not s.is_lost], fresh, [s for s in recomputed if s.is_lost]
