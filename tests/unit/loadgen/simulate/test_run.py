"""Runs as a whole: repeatable to the bit, learning what they are not told, alike for every policy and planner."""

import msgspec
import numpy as np
import pytest

from loadgen.load import Settings, draw_load
from loadgen.simulate.fleet import Slow
from loadgen.simulate.hardware import MODEL, hardware_by_profile
from loadgen.simulate.run import ORACLE, Knows, Scenario, Simulated, _Run, simulate
from services.engine.profile import load_profile
from services.prism.calibration import UNCORRECTED
from services.prism.policies import POLICIES

PROFILES = ("h100-llama3.1-8b", "a100-llama3.1-8b")
FLEET = Scenario(
    engines={"h": PROFILES[0], "a": PROFILES[1]},
    hardware={name: hardware_by_profile(load_profile(name)) for name in PROFILES},
    incidents=(Slow(2.0, "a", 1.5),),
    replicas=2,
    delay_s=0.1,
)


def run(scenario: Scenario, seed: int = 3, requests: int = 60) -> Simulated:
    settings = Settings(url="", model="", requests=requests, seed=seed, timeout_s=0.0, rate_per_s=20.0)
    return simulate(scenario, draw_load(settings), seed)


def test_the_same_seed_has_the_same_result_to_the_bit():
    first, second = (msgspec.json.encode(run(FLEET)) for _ in range(2))
    assert first == second
    assert first != msgspec.json.encode(run(FLEET, seed=4))


@pytest.mark.parametrize("policy", [*POLICIES, ORACLE])
def test_every_request_ends_under_every_policy(policy):
    ended = run(msgspec.structs.replace(FLEET, policy=policy)).outcomes
    assert [outcome.problem for outcome in ended] == [None] * 60
    assert {outcome.engine for outcome in ended} <= {"h", "a"}


@pytest.mark.parametrize("planner", ["synergy", "published", "prefill-first", "static-256", "static-256-relegating"])
def test_every_request_ends_under_every_planner(planner):
    ended = run(msgspec.structs.replace(FLEET, planner=planner)).outcomes
    assert [outcome.problem for outcome in ended] == [None] * 60


def test_what_is_foreseen_gets_better_as_the_steps_are_learned():
    ended = sorted(run(FLEET, requests=200).outcomes, key=lambda outcome: outcome.sent_s)

    def error(outcome):
        return abs(outcome.predicted_tpot_s - outcome.tpot_s) / outcome.tpot_s

    assert sum(map(error, ended[:5])) / 5 > 1.0
    assert sum(map(error, ended[-50:])) / 50 < 0.5


def test_whoever_knows_the_truth_foresees_from_the_start():
    ended = run(msgspec.structs.replace(FLEET, knows=Knows.TRUE, instant=True)).outcomes
    pairs = [(o.predicted_tpot_s, o.tpot_s) for o in ended if o.predicted_tpot_s is not None and o.tpot_s is not None]
    assert sum(predicted_s < 2 * actual_s for predicted_s, actual_s in pairs) > 50


@pytest.mark.parametrize("instant", [True, False])
def test_nothing_stays_reserved_for_what_the_engines_show(instant):
    running = _Run(msgspec.structs.replace(FLEET, instant=instant, delay_s=0.0), 3, lambda _outcome: None)
    settings = Settings(url="", model="", requests=20, seed=3, timeout_s=0.0, rate_per_s=5.0)
    running.run(draw_load(settings))
    assert running._fleet.view().reserved == {}


def test_who_misjudges_foresees_as_much_too_little_or_too_much():
    one = msgspec.structs.replace(FLEET, engines={"h": PROFILES[0]}, incidents=(), replicas=1)

    def predicted_s(*misjudged: float) -> float:
        ended = run(msgspec.structs.replace(one, misjudged=misjudged)).outcomes
        return sum(outcome.predicted_ttft_s or 0.0 for outcome in sorted(ended, key=lambda each: each.sent_s)[5:30])

    low, right, high = predicted_s(0.8), predicted_s(), predicted_s(1.2)
    assert low < right < high


def test_engines_are_misjudged_as_the_seed_has_it():
    scenario = msgspec.structs.replace(
        FLEET, engines={f"h{number}": PROFILES[0] for number in range(20)}, incidents=(), misjudged=(0.8, 1.2)
    )
    drawn = [_Run(scenario, seed, lambda _outcome: None)._misjudged for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert set(drawn[0].values()) == {0.8, 1.2}


def test_which_replica_takes_a_request_has_nothing_to_do_with_how_the_load_was_drawn():
    load_draws = np.random.default_rng(7).spawn(3)[2].integers(0, 10_000, 400)
    balancer = _Run(FLEET, 7, lambda _outcome: None)._balancer
    replicas = balancer.integers(0, 2, 400)
    assert 0.4 < np.mean(replicas == load_draws * 2 // 10_000) < 0.6


def test_routers_learn_how_long_answers_are_and_how_predictions_come_true():
    scenario = msgspec.structs.replace(FLEET, replicas=1)
    settings = Settings(url="", model="", requests=200, seed=3, timeout_s=0.0, rate_per_s=20.0)
    load = [msgspec.structs.replace(r, max_tokens=900, ignore_eos=False) for r in draw_load(settings)]
    running = _Run(scenario, 3, lambda _outcome: None)
    running.run(load)
    [replica] = running._replicas
    assert replica._lengths.of(MODEL).expected(900) > 800  # all went on to their limit
    known = replica._calibration.of("h")
    assert known != UNCORRECTED
    assert replica._calibration.of("new") != UNCORRECTED
