"""The twin of a real run: its requests, as its server counted them, on engines as fast as its own."""

import math

import msgspec
import numpy as np
import pytest

from loadgen.load import draw_load
from loadgen.outcome import Outcome
from loadgen.score import score
from loadgen.simulate.hardware import hardware_by_profile
from loadgen.validate.loads import EMULATED, Lengths, Load
from loadgen.validate.twin import scenario_of, simulated_run
from services.engine.profile import load_profile
from shared.slo import Slo

ENGINES = {"h100": hardware_by_profile(load_profile("h100-llama3.1-8b"))}
LOAD = Load(
    prompts=Lengths(400, 900, 2000),
    outputs=Lengths(20, 40, 100),
    slo=Slo(ttft_s=0.5, tpot_s=0.05),
    rate_per_s=4.0,
    duration_s=20.0,
    warm_up_s=5.0,
    time_scale=1.0,
)


def sent(load: Load) -> list[Outcome]:
    requests = draw_load(load.settings("", "", 0), load.lengths(0))
    return [Outcome(request=request, sent_s=request.arrival_s) for request in requests]


def test_lengths_have_the_percentiles_that_they_are_named_by():
    drawn = EMULATED.prompts.draw(20_000, np.random.default_rng(0))
    assert np.percentile(drawn, [50, 90]) == pytest.approx([1020, 2734], rel=0.03)
    assert max(drawn) == EMULATED.prompts.most


def test_requests_of_the_warm_up_run_but_are_not_judged():
    real = sent(LOAD)
    outcomes = simulated_run(LOAD, scenario_of(LOAD, ENGINES), real, seed=1)
    assert {outcome.request.arrival_s for outcome in outcomes} == {
        outcome.request.arrival_s for outcome in real if outcome.request.arrival_s >= LOAD.warm_up_s
    }
    assert all(outcome.problem is None for outcome in outcomes)


def test_blocks_are_judged_in_turn_in_the_load_s_own_time():
    load = LOAD._replace(warm_up_s=10.0, block_s=20.0, time_scale=2.0)
    instants_s = [19.0, 21.0, 59.0, 61.0, 99.0, 101.0, 141.0]
    assert [load.is_judged(at_s) for at_s in instants_s] == [False, False, False, True, True, False, True]


def test_a_stretched_system_is_slower_in_all_things_alike():
    stretched = LOAD._replace(time_scale=3.0)
    plain, slow = (
        score(simulated_run(load, scenario_of(load, ENGINES), sent(load), seed=1)) for load in (LOAD, stretched)
    )
    assert plain.ttft_s is not None
    assert slow.ttft_s is not None
    assert slow.ttft_s.p50 == pytest.approx(3.0 * plain.ttft_s.p50, rel=0.1)
    assert slow.attainment == pytest.approx(plain.attainment, abs=0.1)


def test_prompts_are_as_long_as_the_server_counted_them():
    real = [msgspec.structs.replace(outcome, prompt_tokens=2048) for outcome in sent(LOAD)]
    outcomes = simulated_run(LOAD, scenario_of(LOAD, ENGINES), real, seed=1)
    assert {outcome.prompt_tokens for outcome in outcomes} == {2048}


def test_lengths_are_never_none_at_all():
    assert min(Lengths(1.0, math.e, 5).draw(1000, np.random.default_rng(0))) == 1
