"""What other picks for one request would have come to: the same run again, but for that. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from loadgen.outcome import Outcome
from loadgen.simulate.fleet import Fate
from loadgen.simulate.run import MOST_SEED, Scenario, scenario_policy, simulate
from loadgen.workload import Request
from services.prism.policy import Pick, Policy, Question, Reason, Refusal


class Retold(msgspec.Struct, frozen=True):
    """What became of a run that went otherwise."""

    kept: int
    """Promises."""
    own: bool
    """Whether that to the request was among them."""


class Hindsight(msgspec.Struct, frozen=True, kw_only=True):
    """A run in which a promise was broken, had that request gone elsewhere, and had nothing but chance been different from then on."""

    kept: int
    """Promises, as it was."""
    elsewhere: Mapping[str, Retold]
    """By engine."""
    again: Sequence[Retold]
    """As often as elsewhere; a run tells luck from what a pick is worth no better than these differ."""

    @property
    def regret(self) -> int:
        """Promises that the best pick would have kept beyond those that were."""
        return max(0, *(run.kept - self.kept for run in self.elsewhere.values()))

    @property
    def luck(self) -> int:
        """Promises that the same pick would have kept beyond those that were, in the best of as many runs."""
        return max(0, *(run.kept - self.kept for run in self.again))

    @property
    def own_regret(self) -> int:
        """1 if another engine would have kept the request's own promise, whatever it cost others."""
        return int(any(run.own for run in self.elsewhere.values()))

    @property
    def own_luck(self) -> int:
        """1 if it would have been kept by chance."""
        return int(any(run.own for run in self.again))


def hindsight(scenario: Scenario, requests: Sequence[Request], seed: int, missed: Outcome, kept: int) -> Hindsight:
    """What would have become of a run whose policy had sent one request to each engine that it did not.

    Args:
        scenario: as in that run; likewise `requests` and `seed`. Every engine is there from the beginning.
        missed: of that request.
        kept: promises, in that run.
    """
    at_s, policy = missed.request.arrival_s, scenario_policy(scenario)
    others = [engine for engine in scenario.engines if engine != missed.engine]

    def retold(changed: Scenario, policy: Policy) -> Retold:
        outcomes = simulate(changed, requests, seed, policy=policy).outcomes
        attained = [outcome.request.arrival_s for outcome in outcomes if outcome.attained]
        return Retold(len(attained), at_s in attained)

    return Hindsight(
        kept=kept,
        elsewhere={engine: retold(scenario, overruled(policy, at_s=at_s, engine=engine)) for engine in others},
        again=[retold(_fated(scenario, at_s, seed, number), policy) for number, _ in enumerate(others, 1)],
    )


def overruled(policy: Policy, *, at_s: float, engine: str) -> Policy:
    """The policy, but for a request that arrives at this instant: it goes to this engine, where it is among those that may have it."""

    def pick(question: Question) -> Pick | Refusal:
        names = [view.state.engine for view in question.engines]
        if question.now_s == at_s and engine in names:
            return Pick(names.index(engine), Reason.POLICY)
        return policy(question)

    return pick


def _fated(scenario: Scenario, at_s: float, seed: int, number: int) -> Scenario:
    """The same with other noise from an instant on."""
    first = (seed + 1) * MOST_SEED + number * len(scenario.engines)
    fates = [Fate(at_s, engine, first + place) for place, engine in enumerate(scenario.engines)]
    return msgspec.structs.replace(scenario, incidents=(*scenario.incidents, *fates))
