"""What prism's picks cost against those that hindsight would have made: the same runs again, but for one request. Pure."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from loadgen.simulate.experiment import Cell
from loadgen.simulate.hindsight import Hindsight, hindsight
from loadgen.simulate.run import simulate
from loadgen.student import Estimate, estimate


class SeedRegret(msgspec.Struct, frozen=True, kw_only=True):
    """Of one run."""

    seed: int
    offered: int
    missed: int
    """Requests whose promise was broken."""
    asked: Sequence[Hindsight]
    """Of some of them, drawn at random."""

    def a_request(self, promises: Sequence[int]) -> float:
        """What was found for those that were asked, a request offered; where it was kept, the pick is taken as the best."""
        return math.fsum(promises) / len(promises) * self.missed / self.offered if promises else 0.0


class Regret(msgspec.Struct, frozen=True, kw_only=True):
    """Of a load: means over seeds, as fractions of the requests offered."""

    workload: str
    rate: float
    policy: str
    seeds: tuple[int, ...]
    asked: int
    missed: Estimate
    regret: Estimate
    """Promises that the best pick for one request would have kept beyond those that were."""
    luck: Estimate
    """Those that as many runs with the same pick would have, by chance alone."""
    own_regret: Estimate
    """Own promises that another engine would have kept, whatever it cost others."""
    own_luck: Estimate
    """Those that would have been kept by chance."""
    beyond_luck: Estimate
    """Regret less luck."""


def seed_regret(cell: Cell, seed: int, decisions: int) -> SeedRegret:
    """Of one run: itself, and six more for each decision that is looked into."""
    requests = cell.draw(seed)
    outcomes = simulate(cell.scenario, requests, seed).outcomes
    missed = sorted((o for o in outcomes if not o.attained), key=lambda outcome: outcome.request.arrival_s)
    kept = len(outcomes) - len(missed)
    drawn = np.random.default_rng(seed).choice(len(missed), min(decisions, len(missed)), replace=False)
    return SeedRegret(
        seed=seed,
        offered=len(outcomes),
        missed=len(missed),
        asked=[hindsight(cell.scenario, requests, seed, missed[place], kept) for place in sorted(drawn.tolist())],
    )


def regret_of(cell: Cell, of_seeds: Sequence[SeedRegret]) -> Regret:
    """Over at least one seed."""
    regret = [each.a_request([asked.regret for asked in each.asked]) for each in of_seeds]
    luck = [each.a_request([asked.luck for asked in each.asked]) for each in of_seeds]
    own_regret = [each.a_request([asked.own_regret for asked in each.asked]) for each in of_seeds]
    own_luck = [each.a_request([asked.own_luck for asked in each.asked]) for each in of_seeds]
    return Regret(
        workload=cell.workload,
        rate=cell.rate,
        policy=cell.scenario.policy,
        seeds=tuple(each.seed for each in of_seeds),
        asked=sum(len(each.asked) for each in of_seeds),
        missed=estimate([each.missed / each.offered for each in of_seeds]),
        regret=estimate(regret),
        luck=estimate(luck),
        own_regret=estimate(own_regret),
        own_luck=estimate(own_luck),
        beyond_luck=estimate([of_pick - of_chance for of_pick, of_chance in zip(regret, luck, strict=True)]),
    )
