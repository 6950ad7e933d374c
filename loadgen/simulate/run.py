"""One simulated run: a fleet, its routers and a load, from the first arrival to the last answer. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from loadgen.outcome import Outcome
from loadgen.simulate.engine import Engine, Lens, News
from loadgen.simulate.events import Events
from loadgen.simulate.fleet import Incident, Join, SimulatedFleet
from loadgen.simulate.hardware import Hardware, Speed
from loadgen.simulate.knowledge import Given, Knowledge, Learned, Misjudged
from loadgen.simulate.router import Replica
from loadgen.workload import Request
from services.lens.planners import planner_named
from services.prism.foresighted import foresighted
from services.prism.policies import policy_named
from services.prism.policy import Policy
from services.prism.prompt_size import BYTES_PER_TOKEN

ORACLE = "oracle"
"""A policy that no real router can have: ours, of engines as they are, with their true step times."""
MOST_SEED = 2**31


class Knows(StrEnum):
    """What planners and routers know of step times."""

    LEARNED = "learned"
    """What the forecaster has learned from telemetry."""
    TRUE = "true"
    """What steps are expected to take in truth."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What is simulated; all but the load and the seed."""

    engines: Mapping[str, str]
    """By name, the hardware of those that are there from the beginning."""
    hardware: Mapping[str, Hardware]
    """By name."""
    incidents: Sequence[Incident] = ()
    planner: str = "synergy"
    policy: str = "synergy"
    replicas: int = 1
    knows: Knows = Knows.LEARNED
    delay_s: float = 0.0
    """Of telemetry and of announcements."""
    instant: bool = False
    """Whether routers see the engines as they are at every instant, without announcements and delays."""
    target_s: float = 0.15
    least_prefill_tokens: int = 16
    max_waiting: int = 256
    text_bytes_per_token: float = BYTES_PER_TOKEN
    """Of prompts; routers, which estimate tokens from bytes, are right where it is what they assume."""
    copies_prefixes: bool = False
    """Whether engines copy what prompts have in common, in no time, and routers know of it; prompts are then made of text."""
    misjudged: Sequence[float] = ()
    """Everyone takes an engine's step times for so many times what was learned of them: for each engine one of these, drawn."""


class Simulated(NamedTuple):
    """What came of a run."""

    outcomes: Sequence[Outcome]
    """In the order in which they ended."""
    steps: int
    duration_s: float


def simulate(
    scenario: Scenario,
    requests: Iterable[Request],
    seed: int,
    *,
    policy: Policy | None = None,
    note: Callable[[Outcome], None] = lambda _outcome: None,
) -> Simulated:
    """Run until every request has ended; the same arguments have the same result, to the bit.

    Args:
        requests: in order of arrival.
        seed: of the engines' noise and of the routers' draws.
        policy: instead of the scenario's, while all else is as that has it.
        note: called with each outcome, as it comes.
    """
    return _Run(scenario, seed, note, policy).run(requests)


def scenario_policy(scenario: Scenario) -> Policy:
    """By name; the oracle is ours, of what is shown to it."""
    return foresighted if scenario.policy == ORACLE else policy_named(scenario.policy)


class _Run:
    def __init__(
        self, scenario: Scenario, seed: int, note: Callable[[Outcome], None], policy: Policy | None = None
    ) -> None:
        self._scenario = scenario
        self._events = Events()
        self._outcomes: list[Outcome] = []
        self._note_outcome = note
        self._to_come = 0
        # The load of this seed is drawn from the first three: a balancer that replays one sorts requests by their place there.
        engine_seeds, draws, _, self._balancer, errors = np.random.default_rng(seed).spawn(5)
        names = sorted([*scenario.engines, *(i.engine for i in scenario.incidents if isinstance(i, Join))])
        self._seed_of = dict(zip(names, engine_seeds.integers(0, MOST_SEED, len(names)).tolist(), strict=True))
        misjudged = errors.choice(scenario.misjudged or (1.0,), len(names)).tolist()
        self._misjudged = dict(zip(names, misjudged, strict=True))
        engines = [self._engine(name, hardware) for name, hardware in scenario.engines.items()]
        self._fleet = SimulatedFleet(engines, lambda: self._events.now_s, self._engine)
        self._replicas = [
            Replica(
                f"replica-{number}",
                self._fleet,
                policy or scenario_policy(scenario),
                self._events,
                draw=rng.random,
                note=self._note,
                text_bytes_per_token=scenario.text_bytes_per_token,
                has_text=scenario.copies_prefixes,
            )
            for number, rng in enumerate(draws.spawn(scenario.replicas))
        ]

    def run(self, requests: Iterable[Request]) -> Simulated:
        for incident in self._scenario.incidents:
            self._events.at(incident.at_s, partial(self._fleet.befall, incident))
        self._next_arrival(iter(requests))
        self._events.run(is_over=lambda: not self._to_come)
        steps = sum(engine.steps for engine in self._fleet.engines)
        return Simulated(self._outcomes, steps, self._events.now_s)

    def _next_arrival(self, requests: Iterator[Request]) -> None:
        """One at a time, so that what is to come takes no room."""
        request = next(requests, None)
        if request is not None:
            self._to_come += 1
            self._events.at(request.arrival_s, partial(self._arrive, request, requests))

    def _arrive(self, request: Request, others: Iterator[Request]) -> None:
        self._next_arrival(others)
        self._replicas[int(self._balancer.integers(len(self._replicas)))].take(request)

    def _note(self, outcome: Outcome) -> None:
        self._to_come -= 1
        self._outcomes.append(outcome)
        self._note_outcome(outcome)

    def _engine(self, name: str, hardware_name: str) -> Engine:
        scenario = self._scenario
        hardware = scenario.hardware[hardware_name]
        if scenario.copies_prefixes:
            hardware = hardware._replace(info=msgspec.structs.replace(hardware.info, copies_prefixes=True))
        speed = Speed(hardware.times(self._seed_of[name]))
        truth = Given(speed, hardware.capacity_tokens_per_s)
        knowledge: Knowledge = truth if scenario.knows is Knows.TRUE else self._learned(name)
        shown = truth if scenario.policy == ORACLE else knowledge
        lens = Lens(
            planner_named(scenario.planner), scenario.target_s, scenario.least_prefill_tokens, scenario.max_waiting
        )
        instant = scenario.instant or scenario.policy == ORACLE
        return Engine(name, hardware, speed, knowledge, shown, lens, News(scenario.delay_s, instant), self._events)

    def _learned(self, name: str) -> Knowledge:
        learned, factor = Learned(name, self._scenario.delay_s), self._misjudged[name]
        return learned if factor == 1.0 else Misjudged(learned, factor)
