"""Hindsight: the same run again, but for one request, or for nothing but chance."""

from collections.abc import Sequence

import msgspec
import pytest

from loadgen.outcome import Outcome
from loadgen.simulate.fleet import Fate
from loadgen.simulate.hindsight import Hindsight, hindsight, overruled
from loadgen.simulate.run import Scenario, scenario_policy, simulate
from shared.slo import Slo
from tests.unit.loadgen.simulate.builders import NO_NOISE, hardware, outcomes, request, scenario

HURRIED = Slo(ttft_s=0.2)
LOAD = [request(0.0), request(0.005, prompt_tokens=4000), request(0.01, slo=HURRIED), request(5.0)]
"""Round robin sends the second to b, which it keeps busy for longer than the third can wait."""


def noisy(*engines: str) -> Scenario:
    return scenario(*engines, of=hardware(noise={**NO_NOISE, "deviation": 0.2}))


def in_order(ended: Sequence[Outcome]) -> list[Outcome]:
    return sorted(ended, key=lambda outcome: outcome.request.arrival_s)


def test_a_pick_is_overruled_for_the_request_that_arrives_at_that_instant_and_no_other():
    fleet = scenario("a", "b")
    policy = overruled(scenario_policy(fleet), at_s=0.01, engine="b")
    assert [outcome.engine for outcome in in_order(outcomes(fleet, LOAD))] == ["a", "b", "a", "b"]
    assert [outcome.engine for outcome in in_order(simulate(fleet, LOAD, 0, policy=policy).outcomes)] == [*"abbb"]


def test_an_engine_that_may_not_have_the_request_is_not_forced_upon_it():
    fleet = scenario("a", "b")
    policy = overruled(scenario_policy(fleet), at_s=0.01, engine="elsewhere")
    assert simulate(fleet, LOAD, 0, policy=policy) == simulate(fleet, LOAD, 0)


def test_regret_is_what_the_best_other_pick_would_have_kept():
    fleet = scenario("a", "b")
    ended = simulate(fleet, LOAD, 0, policy=overruled(scenario_policy(fleet), at_s=0.01, engine="b")).outcomes
    (missed,) = (outcome for outcome in ended if not outcome.attained)
    assert (missed.request.arrival_s, missed.engine) == (0.01, "b")
    found = hindsight(fleet, LOAD, 0, missed, kept=3)
    assert found.elsewhere == {"a": 4}
    assert found.regret == 1


def test_nobody_regrets_the_best_pick_nor_has_bad_luck_where_all_is_as_it_was():
    assert Hindsight(kept=5, elsewhere={"b": 3, "c": 5}, again=[5, 4]).regret == 0
    assert Hindsight(kept=5, elsewhere={"b": 3, "c": 7}, again=[5, 6]).luck == 1


@pytest.mark.parametrize("at_s", [0.0, 1.0])
def test_another_fate_changes_noise_from_its_instant_on_and_nothing_before(at_s):
    load = [request(0.2 * n, output_tokens=5) for n in range(10)]
    as_it_was = outcomes(noisy(), load)
    fated = outcomes(msgspec.structs.replace(noisy(), incidents=(Fate(at_s, "a", 7),)), load)
    same = [before.request.arrival_s for before, after in zip(as_it_was, fated, strict=True) if before == after]
    assert same == [outcome.request.arrival_s for outcome in as_it_was if outcome.request.arrival_s < at_s]
