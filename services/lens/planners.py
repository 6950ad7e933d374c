"""Planners to compare with, and the choice by name: what other engines batch by, behind the signature of ours. Pure."""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain

from services.lens.plan import PlanLimits, Planner, Queue, decodes_of, fill
from services.lens.sequence import Allotment, Sequence
from services.lens.synergy import synergy
from shared.steptime import StepModel

RELEGATED_AT = 0.9
"""Of its TTFT target gone, and a prompt goes behind everyone on time."""
PUBLISHED_LEAST_S, PUBLISHED_MOST_S = 0.015, 0.050
PUBLISHED_FULL_QUEUE = 5
"""Waiting requests at which the longest step is planned for."""
PUBLISHED_CHUNK_TOKENS = 512

_STATIC = re.compile(r"static-(?P<budget>[1-9]\d{0,6})(?:-(?P<rule>relegating|triaging))?", re.ASCII)


def static(
    queue: Queue, _model: StepModel, limits: PlanLimits, *, budget_tokens: int, relegating: bool
) -> tuple[Allotment, ...]:
    """Decodes first, then prompts in chunks, within a number of tokens that never changes: Sarathi-Serve's rule.

    Args:
        relegating: whether prompts that are nearly too late go behind everyone on time.
    """
    budget_tokens = min(budget_tokens, limits.max_step_tokens)
    decodes = decodes_of(queue.running, budget_tokens)
    if not relegating:
        return (*decodes, *_chunks(_in_order(queue), budget_tokens - len(decodes)))
    chunks = _chunks(_relegated(queue), budget_tokens - len(decodes))
    return (*decodes, *(chunk._replace(is_relegated=_is_late(chunk.sequence, queue.now_s)) for chunk in chunks))


def prefill_first(queue: Queue, _model: StepModel, limits: PlanLimits) -> tuple[Allotment, ...]:
    """Whole prompts as soon as they fit, and no decode meanwhile: vLLM's rule before it had chunks.

    A prompt longer than a step is run by itself, in as many steps as it takes.
    """
    room_tokens = limits.max_step_tokens
    prompts: list[Allotment] = []
    for sequence in _in_order(queue):
        if prompts and sequence.prefill_tokens_left > room_tokens:
            break
        prompts += _chunks((sequence,), room_tokens)
        room_tokens -= prompts[-1].num_tokens
        if not room_tokens:
            break
    return tuple(prompts) or decodes_of(queue.running, limits.max_step_tokens)


def published(queue: Queue, model: StepModel, limits: PlanLimits) -> tuple[Allotment, ...]:
    """The published LENS (arXiv 2509.23384): a target time by the queue's length alone, prompts by what is left of them."""
    span_s = PUBLISHED_MOST_S - PUBLISHED_LEAST_S
    target_s = min(PUBLISHED_LEAST_S + span_s * len(queue.waiting) / PUBLISHED_FULL_QUEUE, PUBLISHED_MOST_S)
    decodes = decodes_of(queue.running, limits.max_step_tokens)
    started = sorted(queue.started, key=lambda sequence: sequence.prefill_tokens_left)
    prefills = chain(started, queue.admissible(queue.waiting))
    aimed = limits._replace(target_s=target_s)
    return (*decodes, *fill(decodes, prefills, model, aimed, most_chunk_tokens=PUBLISHED_CHUNK_TOKENS))


def planner_named(name: str) -> Planner:
    """The planner of this name: `synergy`, `published`, `prefill-first`, `static-N`, `static-N-relegating` or `static-N-triaging`.

    The last is ours with a fixed budget.

    Raises:
        ValueError: there is none; names those there are.
    """
    if match := _STATIC.fullmatch(name):
        budget_tokens, rule = int(match["budget"]), match["rule"]
        if rule == "triaging":
            return partial(synergy, budget_tokens=budget_tokens)
        return partial(static, budget_tokens=budget_tokens, relegating=rule == "relegating")
    if name not in _BY_NAME:
        known = ", ".join((*_BY_NAME, "static-N", "static-N-relegating", "static-N-triaging"))
        raise ValueError(f"no planner {name!r}; there are {known} (N: tokens a step)")
    return _BY_NAME[name]


_BY_NAME: dict[str, Planner] = {"synergy": synergy, "published": published, "prefill-first": prefill_first}


def _chunks(prefills: Iterable[Sequence], room_tokens: int) -> Iterator[Allotment]:
    """As much of each as there is room for, in their order."""
    for sequence in prefills if room_tokens > 0 else ():
        num_tokens = min(sequence.prefill_tokens_left, room_tokens)
        yield Allotment(sequence, num_tokens, is_prefill=True)
        room_tokens -= num_tokens
        if not room_tokens:
            return


def _in_order(queue: Queue) -> Iterator[Sequence]:
    return chain(queue.started, queue.admissible(queue.waiting))


def _relegated(queue: Queue) -> Iterator[Sequence]:
    """Those on time before those that are nearly too late; of either first who is in the engine, then in order of arrival."""
    on_time = (sequence for sequence in queue.waiting if not _is_late(sequence, queue.now_s))
    late = (sequence for sequence in queue.waiting if _is_late(sequence, queue.now_s))
    joining = queue.admissible(chain(on_time, late))
    yield from (sequence for sequence in queue.started if not _is_late(sequence, queue.now_s))
    for sequence in joining:
        if _is_late(sequence, queue.now_s):
            joining = chain((sequence,), joining)
            break
        yield sequence
    yield from (sequence for sequence in queue.started if _is_late(sequence, queue.now_s))
    yield from joining


def _is_late(sequence: Sequence, now_s: float) -> bool:
    ttft_s = sequence.slo.ttft_s
    return ttft_s is not None and not sequence.output_ids and now_s - sequence.arrival_s >= RELEGATED_AT * ttft_s
