"""Hindsight: the same run again, but for one request, or for nothing but chance."""

from collections.abc import Sequence

import msgspec
import pytest

from loadgen.outcome import Outcome
from loadgen.simulate.fleet import Fate
from loadgen.simulate.hindsight import Hindsight, Retold, hindsight, overruled
from loadgen.simulate.run import Scenario, scenario_policy, simulate
from shared.slo import Slo
from tests.unit.loadgen.simulate.builders import NO_NOISE, hardware, outcomes, request, scenario

HURRIED = Slo(ttft_s=0.2)
LOAD = [request(0.0), request(0.005, prompt_tokens=4000), request(0.007), request(0.01, slo=HURRIED), request(5.0)]
"""Round robin sends the second to b, which it keeps busy for longer than the fourth can wait, which follows it there."""


def noisy(*engines: str) -> Scenario:
    return scenario(*engines, of=hardware(noise={**NO_NOISE, "deviation": 0.2}))


def in_order(ended: Sequence[Outcome]) -> list[Outcome]:
    return sorted(ended, key=lambda outcome: outcome.request.arrival_s)


def test_a_pick_is_overruled_for_the_request_that_arrives_at_that_instant_and_no_other():
    fleet = scenario("a", "b")
    policy = overruled(scenario_policy(fleet), at_s=0.01, engine="a")
    assert [outcome.engine for outcome in in_order(outcomes(fleet, LOAD))] == [*"ababa"]
    assert [outcome.engine for outcome in in_order(simulate(fleet, LOAD, 0, policy=policy).outcomes)] == [*"abaaa"]


def test_an_engine_that_may_not_have_the_request_is_not_forced_upon_it():
    fleet = scenario("a", "b")
    policy = overruled(scenario_policy(fleet), at_s=0.01, engine="elsewhere")
    assert simulate(fleet, LOAD, 0, policy=policy) == simulate(fleet, LOAD, 0)


def test_regret_is_what_the_best_other_pick_would_have_kept():
    fleet = scenario("a", "b")
    (missed,) = (outcome for outcome in outcomes(fleet, LOAD) if not outcome.attained)
    assert (missed.request.arrival_s, missed.engine) == (0.01, "b")
    found = hindsight(fleet, LOAD, 0, missed, kept=4)
    assert found.elsewhere == {"a": Retold(5, own=True)}
    assert (found.regret, found.own_regret) == (1, 1)
    assert found.again == [Retold(4, own=False)]
    assert (found.luck, found.own_luck) == (0, 0)


def test_nobody_regrets_the_best_pick():
    kept, lost = Retold(5, own=True), Retold(4, own=False)
    best = Hindsight(kept=5, elsewhere={"b": lost, "c": kept}, again=[lost, lost])
    assert (best.regret, best.own_regret, best.luck, best.own_luck) == (0, 1, 0, 0)
    unlucky = Hindsight(kept=4, elsewhere={"b": lost, "c": lost}, again=[kept, lost])
    assert (unlucky.regret, unlucky.own_regret, unlucky.luck, unlucky.own_luck) == (0, 0, 1, 1)


@pytest.mark.parametrize("at_s", [0.0, 1.0])
def test_another_fate_changes_noise_from_its_instant_on_and_nothing_before(at_s):
    load = [request(0.2 * n, output_tokens=5) for n in range(10)]
    as_it_was = outcomes(noisy(), load)
    fated = outcomes(msgspec.structs.replace(noisy(), incidents=(Fate(at_s, "a", 7),)), load)
    same = [before.request.arrival_s for before, after in zip(as_it_was, fated, strict=True) if before == after]
    assert same == [outcome.request.arrival_s for outcome in as_it_was if outcome.request.arrival_s < at_s]
