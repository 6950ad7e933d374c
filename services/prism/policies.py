"""Policies to compare with, and the choice by name: what other routers balance by, behind the signature of ours. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from services.prism.dispatches import Load
from services.prism.fleet import EngineView
from services.prism.foresighted import foresighted
from services.prism.policy import Pick, Policy, Question, Reason, at
from shared.steptime import StepShape

PUBLISHED_STEP_S = 0.050
"""The step time at which the published score has no latency term left."""


def round_robin(question: Question) -> Pick:
    """One after the other."""
    return Pick(question.turn % len(question.engines), Reason.POLICY)


def random(question: Question) -> Pick:
    """Any of them."""
    return Pick(int(question.draw * len(question.engines)), Reason.POLICY)


def power_of_two(question: Question) -> Pick:
    """Of two drawn at random the one with fewer requests."""
    count = len(question.engines)
    place = question.draw * count
    first = int(place)
    second = first if count == 1 else (first + 1 + int((place - first) * (count - 1))) % count
    return Pick(min((first, second), key=_requests(question).__getitem__), Reason.POLICY)


def weighted(question: Question) -> Pick:
    """Any of them, each as often as its capacity says."""
    bounds = list(accumulate(_capacities(question.engines)))
    place = question.draw * bounds[-1]
    return Pick(next(index for index, bound in enumerate(bounds) if place < bound), Reason.POLICY)


def least_requests(question: Question) -> Pick:
    """The one with the fewest requests."""
    return _least(_requests(question), question.draw)


def weighted_least_requests(question: Question) -> Pick:
    """The one with the fewest requests for its capacity, this one included."""
    return _least(_shares(question, [count + 1 for count in _requests(question)]), question.draw)


def least_tokens(question: Question) -> Pick:
    """The one with the fewest tokens to compute and in the cache."""
    return _least(_tokens(question), question.draw)


def weighted_least_tokens(question: Question) -> Pick:
    """The one with the fewest tokens for its capacity, this request's included."""
    own = question.ask.prompt_tokens
    return _least(_shares(question, [tokens + own for tokens in _tokens(question)]), question.draw)


def lowest_latency(question: Question) -> Pick:
    """The one that gave first bytes soonest of late; one not heard of is tried by one request at a time."""
    return _least([_recent_latency_s(load) for load in question.loads], question.draw)


def published(question: Question) -> Pick:
    """The published PRISM (arXiv 2509.23384): short steps, and few tokens pending for the capacity; the highest score wins.

    Its unit of capacity, which was ten times too small, is put right here; its terms for modes and sessions do not apply.
    """
    scores = []
    capacities = _capacities(question.engines)
    for engine, load, capacity in zip(question.engines, question.loads, capacities, strict=True):
        pending_tokens = engine.state.waiting_prefill_tokens + load.pending_prompt_tokens
        quickness = max(0.0, 1.0 - _step_s(engine) / PUBLISHED_STEP_S)
        scores.append(quickness + 1.0 - math.tanh(pending_tokens / capacity))
    return _least([-score for score in scores], question.draw)


def policy_named(name: str) -> Policy:
    """The policy of this name.

    Raises:
        ValueError: there is none; names those there are.
    """
    if name not in POLICIES:
        raise ValueError(f"no policy {name!r}; there are {', '.join(POLICIES)}")
    return POLICIES[name]


POLICIES: Mapping[str, Policy] = {
    "synergy": foresighted,
    "round-robin": round_robin,
    "random": random,
    "power-of-two": power_of_two,
    "weighted": weighted,
    "least-requests": least_requests,
    "weighted-least-requests": weighted_least_requests,
    "least-tokens": least_tokens,
    "weighted-least-tokens": weighted_least_tokens,
    "lowest-latency": lowest_latency,
    "published": published,
}


def _least(values: Sequence[float], draw: float) -> Pick:
    """The least; of equals any, so that replicas do not herd."""
    least = min(values)
    return Pick(at([index for index, value in enumerate(values) if value == least], draw), Reason.POLICY)


def _requests(question: Question) -> list[int]:
    """By engine: in it, waiting there, and on their way there from this replica."""
    return [
        engine.state.decode_seqs + engine.state.prefill_seqs + engine.state.waiting_requests + load.pending_requests
        for engine, load in _pairs(question)
    ]


def _tokens(question: Question) -> list[int]:
    return [
        engine.state.waiting_prefill_tokens + engine.state.kv_tokens + load.pending_prompt_tokens
        for engine, load in _pairs(question)
    ]


def _pairs(question: Question) -> Iterator[tuple[EngineView, Load]]:
    return zip(question.engines, question.loads, strict=True)


def _shares(question: Question, loads: Sequence[float]) -> list[float]:
    return [load / capacity for load, capacity in zip(loads, _capacities(question.engines), strict=True)]


def _capacities(engines: Sequence[EngineView]) -> list[float]:
    """Tokens/s; an engine of which none is known counts as the others do on average."""
    known = [engine.capacity_tokens_per_s for engine in engines if engine.capacity_tokens_per_s > 0.0]
    mean = math.fsum(known) / len(known) if known else 1.0
    return [engine.capacity_tokens_per_s or mean for engine in engines]


def _recent_latency_s(load: Load) -> float:
    if load.recent_first_byte_s is not None:
        return load.recent_first_byte_s
    return math.inf if load.outstanding_requests else 0.0


def _step_s(engine: EngineView) -> float:
    """Of its present decodes; 0 where it idles, which is what an idle engine reports in the published system."""
    decodes = engine.state.decode_seqs
    return float(engine.model.step_time_s(StepShape(decodes, decodes, engine.state.kv_tokens))) if decodes else 0.0
