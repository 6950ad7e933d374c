"""The fluid bound on fleets whose best steps can be found by hand."""

import pytest

from loadgen.experiments.fluid import Asked, asked_of, fluid_bound
from shared.slo import Slo
from tests.unit.loadgen.simulate.builders import hardware, request

ONLY_PROMPTS = Asked(
    prompt_tokens=1024.0,
    decoded_tokens=0.0,
    answer_tokens=1.0,
    prompt_work_tokens2=0.0,
    held_tokens=1024.0,
    tpot_s=0.05,
)
# 8,192 tokens of eight prompts: 10 ms, 1 ms a sequence and 0.1 ms a token.
FULL_STEP_S = 0.010 + 8 * 0.001 + 8192 * 0.0001


def test_prompts_alone_are_read_in_full_steps():
    bound = fluid_bound([hardware()], ONLY_PROMPTS)
    assert bound.requests_per_s == pytest.approx(8 / FULL_STEP_S)
    assert bound.tokens_per_s == pytest.approx(8 * 1025 / FULL_STEP_S)


def test_engines_add_up_and_a_slow_one_brings_less():
    one, slow = fluid_bound([hardware()], ONLY_PROMPTS), fluid_bound([hardware(base_ms=100.0)], ONLY_PROMPTS)
    assert slow.requests_per_s < one.requests_per_s
    together = fluid_bound([hardware(), hardware(base_ms=100.0)], ONLY_PROMPTS)
    assert together.requests_per_s == pytest.approx(one.requests_per_s + slow.requests_per_s)


def test_answers_go_on_no_slower_than_their_target_and_hold_their_cache():
    answers = ONLY_PROMPTS._replace(prompt_tokens=1e-6, decoded_tokens=100.0, held_tokens=100.0)
    # 36 answers take 10 + 36 + 3.6 ms; 40 would take longer than 50 ms.
    assert fluid_bound([hardware()], answers).requests_per_s == pytest.approx(36 / 0.0496 / 100, rel=1e-3)
    # 20 of them fill a cache of 2,000 tokens: 10 + 20 + 2 ms.
    small = fluid_bound([hardware(kv_tokens=2000)], answers)
    assert small.requests_per_s == pytest.approx(20 / 0.032 / 100, rel=1e-3)


def test_work_goes_where_it_costs_least():
    both = ONLY_PROMPTS._replace(decoded_tokens=100.0)
    engines = [hardware(), hardware()]
    apart = 1 / fluid_bound(engines, ONLY_PROMPTS).requests_per_s
    apart += 1 / fluid_bound(engines, both._replace(prompt_tokens=1e-6)).requests_per_s
    assert fluid_bound(engines, both).requests_per_s >= (1 / apart) * 0.999


def test_what_is_asked_is_the_mean_of_the_requests():
    asked = asked_of(
        [
            request(prompt_tokens=100, output_tokens=11, slo=Slo(tpot_s=0.05)),
            request(prompt_tokens=300, output_tokens=31, slo=Slo(tpot_s=0.1)),
        ]
    )
    assert (asked.prompt_tokens, asked.answer_tokens, asked.decoded_tokens) == (200.0, 21.0, 20.0)
    assert asked.prompt_work_tokens2 == (100**2 + 300**2) / 4
    assert asked.held_tokens == pytest.approx((105.5 * 10 + 315.5 * 30) / 40)
    assert asked.tpot_s == 0.05
