"""When the tightest answers are given up for the prompts that wait behind them."""

from services.lens.giving_up import MOST_PACES, GivenUp, give_up_tightest
from services.lens.sequence import Sequence
from shared.pacing import PACED_AT
from shared.slo import Slo
from tests.unit.lens.builders import in_engine, sequence

TIGHT_S, USUAL_S = 0.02, 0.05


def answer(pace_s: float) -> Sequence:
    return in_engine(sequence(4, 100, slo=Slo(ttft_s=1.0, tpot_s=pace_s / PACED_AT)), 4)


def prompt(tokens: int, ttft_s: float = 1.0, *, pace_s: float = USUAL_S, priority: int = 0) -> Sequence:
    made = sequence(tokens, slo=Slo(ttft_s=ttft_s, tpot_s=pace_s / PACED_AT))
    made.priority = priority
    return made


def prefill_tokens_per_s(pace_s: float) -> float:
    """10 ms of each step go elsewhere; a token takes 1 ms."""
    return (pace_s - 0.01) / 0.001 / pace_s


def give_up(answers: list[Sequence], prompts: list[Sequence], kept: int, starts_s: float = 0.0) -> GivenUp | None:
    return give_up_tightest(
        answers, prompts, kept=kept, tokens_per_s=prefill_tokens_per_s, starts_s=starts_s, served_tokens={}
    )


def test_an_answer_is_given_up_that_keeps_more_prompts_from_being_on_time_than_it_is_one():
    tight, usual = answer(TIGHT_S), answer(USUAL_S)
    prompts = [prompt(100) for _ in range(8)]  # 500 tokens/s at 20 ms a step, 800 at 50
    assert give_up([usual, tight], prompts, kept=5) == (frozenset({tight}), (prompts, []))


def test_an_answer_is_kept_where_that_gains_no_more_than_it_is():
    prompts = [prompt(100) for _ in range(6)]
    assert give_up([answer(TIGHT_S), answer(USUAL_S)], prompts, kept=5) is None


def test_all_that_are_as_tight_go_together_or_none_does():
    tight, prompts = [answer(TIGHT_S), answer(TIGHT_S)], [prompt(100) for _ in range(8)]
    assert give_up([*tight, answer(USUAL_S)], prompts, kept=5) == (frozenset(tight), (prompts, []))
    assert give_up([*tight, answer(TIGHT_S), answer(USUAL_S)], prompts, kept=5) is None


def test_answers_that_all_have_one_pace_are_never_given_up():
    assert give_up([answer(TIGHT_S)] * 3, [prompt(100, pace_s=TIGHT_S) for _ in range(50)], kept=0) is None


def test_prompts_that_would_be_answered_as_tightly_are_relegated_with_them():
    tight, usual = answer(TIGHT_S), answer(USUAL_S)
    as_tight, late = prompt(10, pace_s=TIGHT_S), prompt(10, 0.5)
    prompts = [prompt(100, 1.6) for _ in range(8)]
    found = give_up([tight, usual], [*prompts, as_tight, late], kept=5, starts_s=0.6)
    assert found == (frozenset({tight}), (prompts, [late, as_tight]))


def test_priorities_are_not_weighed_against_each_other():
    prompts = [prompt(100) for _ in range(8)]
    assert give_up([answer(TIGHT_S), answer(USUAL_S)], [*prompts, prompt(1, priority=1)], kept=5) is None


def test_of_many_paces_the_tightest_and_the_loosest_are_tried():
    answers = [answer(TIGHT_S + 0.001 * number) for number in range(10 * MOST_PACES)]
    found = give_up(answers, [prompt(1) for _ in range(1000)], kept=0)
    assert found is not None
    assert len(found.prompts.on_time) - len(found.answers) > 400
