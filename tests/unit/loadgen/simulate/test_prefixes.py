"""Simulated prompts that begin alike: engines copy what they have, and the router knows where that is."""

from typing import Any

import pytest

from loadgen.simulate.job import ask_for, prompt_tokens_of, token_ids_of, with_text
from loadgen.synthetic import BLOCK_TOKENS, Synthetic
from loadgen.workload import Request
from shared.slo import Slo
from tests.unit.loadgen.simulate.builders import outcomes, scenario

SHARED_BLOCKS = 4
TIGHT = Slo(ttft_s=0.3)


def turn(arrival_s: float, number: int, *, shares: bool = True) -> Request:
    prefix_ids = tuple(range(SHARED_BLOCKS)) if shares else ()
    prompt = Synthetic(tokens=SHARED_BLOCKS * BLOCK_TOKENS + 50, prefix_ids=prefix_ids, seed=number)
    return Request(arrival_s=arrival_s, prompt=prompt, max_tokens=3, slo=TIGHT, ignore_eos=True)


def copying(policy: str = "synergy", *, copies_prefixes: bool = True, **changes: Any):
    return scenario("a", "b", policy=policy, copies_prefixes=copies_prefixes, **changes)


@pytest.mark.parametrize("news", [{"instant": True}, {"instant": False, "delay_s": 0.05}])
def test_turns_go_where_the_first_one_was_and_begin_sooner(news):
    first, *others = outcomes(copying(**news), [turn(3.0 * number, number) for number in range(6)])
    assert {other.engine for other in others} == {first.engine}
    for of in ("ttft_s", "predicted_ttft_s"):
        assert all(getattr(other, of) < getattr(first, of) / 3 for other in others)


def test_what_has_nothing_in_common_is_computed_in_whole():
    answers = outcomes(copying(), [turn(3.0 * number, number, shares=False) for number in range(4)])
    assert [answer.ttft_s for answer in answers] == pytest.approx([answers[0].ttft_s] * 4)


def test_engines_that_do_not_copy_compute_all_and_no_text_is_made():
    answers = outcomes(copying(copies_prefixes=False), [turn(3.0 * number, number) for number in range(4)])
    assert [answer.ttft_s for answer in answers] == pytest.approx([answers[0].ttft_s] * 4)


@pytest.mark.parametrize(
    "prompt", ["", "x", "abcd", "abcde" * 40, Synthetic(tokens=1), Synthetic(tokens=700, prefix_ids=(3,))]
)
def test_a_prompt_has_as_many_token_ids_as_it_is_counted_to_have(prompt):
    request = Request(arrival_s=0.0, prompt=prompt, max_tokens=1, slo=Slo())
    assert len(token_ids_of(request)) == prompt_tokens_of(request)


def test_texts_that_begin_alike_have_tokens_and_blocks_that_do():
    asks = [with_text(ask_for(each, 2100), each.prompt_text.encode()) for each in (turn(0.0, 1), turn(0.0, 2))]
    ids = [token_ids_of(each) for each in (turn(0.0, 1), turn(0.0, 2))]
    shared_tokens = SHARED_BLOCKS * BLOCK_TOKENS
    assert ids[0][:shared_tokens] == ids[1][:shared_tokens]
    assert ids[0] != ids[1]
    shared_blocks = sum(one == other for one, other in zip(asks[0].blocks, asks[1].blocks, strict=False))
    assert asks[0].tokens_of(shared_blocks) == pytest.approx(shared_tokens, rel=0.08)
