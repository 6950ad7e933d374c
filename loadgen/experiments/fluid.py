"""The fluid bound: the most that a fleet could do if its work were divisible at will, by the true times of full steps. Pure.

What is asked for is a mean prompt and a mean answer. Any engine may read any part of a prompt, and write any part of an
answer, as if caches moved between engines in no time; nothing waits, no step is cut short, no time is lost to noise. What
remains: a step in which answers go on takes no longer than their TPOT target allows, answers hold their cache, and
engines run one step at a time. How much of its time each engine spends on which step is a linear program.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

from loadgen.simulate.hardware import Hardware
from loadgen.simulate.job import prompt_tokens_of
from loadgen.workload import Request
from shared.steptime import StepShape

CHUNK_TOKENS = 64
"""Steps are looked at whose prompts' part grows by so much."""
ANSWERS_APART = 4
"""Steps are looked at whose answers are so many more."""


class Asked(NamedTuple):
    """Means over requests."""

    prompt_tokens: float
    decoded_tokens: float
    """Of an answer, but its first, which the last step of the prompt brings."""
    answer_tokens: float
    prompt_work_tokens2: float
    """Of attention, a prompt read in one piece."""
    held_tokens: float
    """In the cache for an answer as it goes on."""
    tpot_s: float
    """The least target."""


class Bound(NamedTuple):
    """What cannot be exceeded."""

    requests_per_s: float
    tokens_per_s: float
    """Of prompts and answers."""


class _Step(NamedTuple):
    """What an engine does a second, were it to run such steps only."""

    engine: int
    prompt_tokens_per_s: float
    decoded_tokens_per_s: float


def asked_of(requests: Sequence[Request]) -> Asked:
    """Of at least one request; each is to have a TPOT target."""
    prompts = np.array([prompt_tokens_of(request) for request in requests], float)
    answers = np.array([request.max_tokens for request in requests], float)
    decoded = np.maximum(answers - 1.0, 0.0)
    held = prompts + answers / 2
    return Asked(
        prompt_tokens=float(prompts.mean()),
        decoded_tokens=float(decoded.mean()),
        answer_tokens=float(answers.mean()),
        prompt_work_tokens2=float((prompts**2 / 2).mean()),
        held_tokens=float((held * decoded).sum() / max(decoded.sum(), 1.0)),
        tpot_s=min(request.slo.tpot_s for request in requests if request.slo.tpot_s is not None),
    )


def fluid_bound(engines: Sequence[Hardware], asked: Asked) -> Bound:
    """The highest rate at which the steps of the fleet can still bring all that is asked for."""
    steps = [step for place, engine in enumerate(engines) for step in _steps(place, engine, asked)]
    # Variables: the share of its engine's time that each step has, and the rate, which is to be as high as can be.
    cost = np.zeros(len(steps) + 1)
    cost[-1] = -1.0
    brings = np.zeros((2, len(steps) + 1))
    brings[0] = [*(-step.prompt_tokens_per_s for step in steps), asked.prompt_tokens]
    brings[1] = [*(-step.decoded_tokens_per_s for step in steps), asked.decoded_tokens]
    times = np.zeros((len(engines), len(steps) + 1))
    times[[step.engine for step in steps], np.arange(len(steps))] = 1.0
    limits = np.concatenate([np.zeros(2), np.ones(len(engines))])
    found = linprog(cost, A_ub=np.vstack([brings, times]), b_ub=limits)
    rate_per_s = float(found.x[-1])
    return Bound(rate_per_s, rate_per_s * (asked.prompt_tokens + asked.answer_tokens))


def _steps(place: int, engine: Hardware, asked: Asked) -> Iterator[_Step]:
    info, times = engine.info, engine.times(0)
    room = int(info.kv_blocks_total * info.kv_block_tokens / asked.held_tokens)
    for answers in range(0, min(info.max_slots, room) + 1, ANSWERS_APART):
        for chunk_tokens in range(0, info.max_step_tokens - answers + 1, CHUNK_TOKENS):
            if not answers and not chunk_tokens:
                continue
            prompts = -(-chunk_tokens // max(int(asked.prompt_tokens), 1))
            work = chunk_tokens / asked.prompt_tokens * asked.prompt_work_tokens2
            shape = StepShape(answers + prompts, answers + chunk_tokens, answers * asked.held_tokens, work, prompts)
            step_s = times.expected_s(shape)
            if answers and step_s > asked.tpot_s:
                break
            yield _Step(place, chunk_tokens / step_s, answers / step_s)
