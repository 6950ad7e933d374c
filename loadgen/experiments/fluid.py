"""The fluid bound: the most that a fleet could do if its work were divisible at will, by the true times of full steps. Pure.

Nothing waits, no step is cut short, no time is lost to noise. What remains: a step in which answers go on takes no longer than
their TPOT target, answers hold their cache, engines run one step at a time, and a request is answered where it was read. How much
of its time each engine spends on which step, and which kinds of requests go to it, is a linear program: kinds, by how long their
answers are beside their prompts, since one engine reads better than it writes, and another the other way round. Requests of one kind are taken to be alike, and
attention and held caches to be the mean of all.

If caches moved between engines in no time, any engine might read any part of a prompt and write any part of an answer:
a program with fewer constraints, and a bound that is higher.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from loadgen.simulate.hardware import Hardware
from loadgen.simulate.job import prompt_tokens_of
from loadgen.workload import Request
from shared.steptime import StepShape

Array = NDArray[np.float64]

CHUNK_TOKENS = 64
"""Steps are looked at whose prompts' part grows by so much."""
ANSWERS_APART = 4
"""Steps are looked at whose answers are so many more."""
KINDS = 16
"""Of requests, as many of each; with four times as many the bound is higher by less than 0.1 %."""


class Kind(NamedTuple):
    """Requests that are much alike: means over them."""

    share: float
    """Of all requests."""
    prompt_tokens: float
    decoded_tokens: float
    """Of an answer, but its first, which the last step of the prompt brings."""


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
    kinds: Sequence[Kind]


class Bound(NamedTuple):
    """What cannot be exceeded."""

    requests_per_s: float
    tokens_per_s: float
    """Of prompts and answers."""


class Bounds(NamedTuple):
    """Of one fleet."""

    staying: Bound
    """A request is answered where it was read."""
    moving: Bound
    """Caches move between engines in no time."""


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
        kinds=_kinds(prompts, decoded),
    )


def _kinds(prompts: Array, decoded: Array) -> Sequence[Kind]:
    order = np.argsort(decoded / prompts, kind="stable")
    alike = np.array_split(order, min(KINDS, len(order)))
    return [Kind(len(of) / len(order), float(prompts[of].mean()), float(decoded[of].mean())) for of in alike]


def fluid_bound(engines: Sequence[Hardware], asked: Asked, *, moves: bool = False) -> Bound:
    """The highest rate at which the steps of the fleet can still bring all that is asked for.

    Args:
        moves: whether caches move between engines in no time.
    """
    # Who is answered anywhere is read anywhere: as if there were one engine, which runs as many steps at once.
    places = [0] * len(engines) if moves else range(len(engines))
    steps = [step for place, engine in enumerate(engines) for step in _steps(place, engine, asked)]
    kinds, homes = asked.kinds, max(places) + 1
    # Variables: the share of its engine's time that each step has, the rate of each kind at each place, and of all together.
    at_home = np.arange(len(steps), len(steps) + len(kinds) * homes).reshape(len(kinds), homes)
    variables = len(steps) + at_home.size + 1
    brought = np.zeros((homes, 2, variables))
    for column, step in enumerate(steps):
        brought[places[step.engine], :, column] = -step.prompt_tokens_per_s, -step.decoded_tokens_per_s
    dealt = np.zeros((len(kinds), variables))
    for of, kind in enumerate(kinds):
        for home in range(homes):
            brought[home, :, at_home[of, home]] = kind.prompt_tokens, kind.decoded_tokens
        dealt[of, at_home[of]] = 1.0
        dealt[of, -1] = -kind.share
    times = np.zeros((len(engines), variables))
    times[[step.engine for step in steps], np.arange(len(steps))] = 1.0
    at_most = np.concatenate([np.zeros(2 * homes), np.ones(len(engines))])
    rate = np.zeros(variables)
    rate[-1] = 1.0
    found = linprog(
        -rate,
        A_ub=np.vstack([brought.reshape(2 * homes, variables), times]),
        b_ub=at_most,
        A_eq=dealt,
        b_eq=np.zeros(len(kinds)),
    )
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
