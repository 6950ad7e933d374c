"""The fluid bound on fleets whose best steps can be found by hand."""

import pytest

from loadgen.experiments.fluid import Asked, Kind, asked_of, fluid_bound
from shared.slo import Slo
from tests.unit.loadgen.simulate.builders import hardware, request


def asked_for(*, prompt_tokens: float = 1024.0, decoded_tokens: float = 0.0, held_tokens: float = 1024.0) -> Asked:
    """Requests that are all alike."""
    return Asked(
        prompt_tokens=prompt_tokens,
        decoded_tokens=decoded_tokens,
        answer_tokens=decoded_tokens + 1.0,
        prompt_work_tokens2=0.0,
        held_tokens=held_tokens,
        tpot_s=0.05,
        kinds=[Kind(1.0, prompt_tokens, decoded_tokens)],
    )


ONLY_PROMPTS = asked_for()
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
    answers = asked_for(prompt_tokens=1e-6, decoded_tokens=100.0, held_tokens=100.0)
    # 36 answers take 10 + 36 + 3.6 ms; 40 would take longer than 50 ms.
    assert fluid_bound([hardware()], answers).requests_per_s == pytest.approx(36 / 0.0496 / 100, rel=1e-3)
    # 20 of them fill a cache of 2,000 tokens: 10 + 20 + 2 ms.
    small = fluid_bound([hardware(kv_tokens=2000)], answers)
    assert small.requests_per_s == pytest.approx(20 / 0.032 / 100, rel=1e-3)


WITH_ANSWERS = asked_for(decoded_tokens=100.0)
READS_WELL, WRITES_WELL = hardware(base_ms=100.0), hardware(kv_tokens=1024 * 36)


def test_where_caches_move_one_engine_may_read_what_another_answers():
    engines = [hardware(), hardware()]
    apart = 1 / fluid_bound(engines, ONLY_PROMPTS).requests_per_s
    apart += 1 / fluid_bound(engines, asked_for(prompt_tokens=1e-6, decoded_tokens=100.0)).requests_per_s
    moving = fluid_bound(engines, WITH_ANSWERS, moves=True)
    assert moving.requests_per_s >= (1 / apart) * 0.999
    unequal = [READS_WELL, WRITES_WELL]
    staying = fluid_bound(unequal, WITH_ANSWERS)
    assert fluid_bound(unequal, WITH_ANSWERS, moves=True).requests_per_s > 1.01 * staying.requests_per_s


def test_requests_that_are_all_alike_and_stay_where_they_are_read_bring_what_the_engines_do_one_by_one():
    unequal = [READS_WELL, WRITES_WELL]
    one_by_one = sum(fluid_bound([engine], WITH_ANSWERS).requests_per_s for engine in unequal)
    assert fluid_bound(unequal, WITH_ANSWERS).requests_per_s == pytest.approx(one_by_one)


def test_kinds_of_requests_go_to_the_engine_that_is_better_at_them():
    unequal = [READS_WELL, WRITES_WELL]
    of_two_kinds = WITH_ANSWERS._replace(kinds=[Kind(0.5, 2000.0, 0.0), Kind(0.5, 48.0, 200.0)])
    assert fluid_bound(unequal, of_two_kinds).requests_per_s > 1.01 * fluid_bound(unequal, WITH_ANSWERS).requests_per_s


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
    assert asked.kinds == [Kind(0.5, 100.0, 10.0), Kind(0.5, 300.0, 30.0)]
