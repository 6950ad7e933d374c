"""As many prompts on time as can be, and no word about the others but their order."""

import itertools

import pytest

from services.lens.sequence import Sequence
from services.lens.triage import triage
from shared.slo import Slo
from tests.unit.lens.builders import in_engine, sequence


def due(prompt_tokens: int, ttft_s: float, arrival_s: float = 0.0) -> Sequence:
    return sequence(prompt_tokens, slo=Slo(ttft_s=ttft_s), arrival_s=arrival_s)


def test_all_that_can_be_on_time_are_by_what_is_due_first():
    later, sooner = due(100, 3.0), due(100, 2.0)
    assert triage([later, sooner], starts_s=0.0, tokens_per_s=100.0) == ([sooner, later], [])


def test_the_longest_is_given_up_where_not_all_can_be_on_time():
    long, short, last = due(200, 2.0), due(60, 2.1), due(60, 2.2)
    assert triage([long, short, last], starts_s=0.0, tokens_per_s=100.0) == ([short, last], [long])


def test_what_is_late_by_itself_harms_nobody():
    late, on_time = due(300, 1.0), due(100, 1.5)
    assert triage([late, on_time], starts_s=0.0, tokens_per_s=100.0) == ([on_time], [late])


def test_a_started_prompt_counts_with_what_is_left_of_it():
    started, whole = in_engine(due(200, 1.0), 150), due(120, 1.5)
    assert triage([whole, started], starts_s=0.0, tokens_per_s=100.0) == ([started], [whole])


def test_those_given_up_stay_in_the_order_in_which_they_came():
    started, older = in_engine(due(600, 1.0, arrival_s=0.3), 10), due(500, 1.0, arrival_s=0.1)
    newer = due(500, 0.5, arrival_s=0.2)
    assert triage([started, older, newer], starts_s=0.0, tokens_per_s=100.0).relegated == [started, older, newer]


@pytest.mark.parametrize("seed", range(5))
def test_no_other_choice_has_more_on_time(seed):
    jobs = [((seed * 37 + place * 53) % 97 + 3, (seed * 11 + place * 29) % 31 / 10) for place in range(9)]
    kept = triage([due(tokens, ttft_s) for tokens, ttft_s in jobs], starts_s=0.0, tokens_per_s=100.0).on_time

    def is_possible(chosen: tuple[tuple[int, float], ...]) -> bool:
        ends_s = itertools.accumulate(tokens / 100.0 for tokens, _ in sorted(chosen, key=lambda job: job[1]))
        return all(
            end_s <= due_s for end_s, (_, due_s) in zip(ends_s, sorted(chosen, key=lambda job: job[1]), strict=True)
        )

    best = max(n for n in range(10) if any(map(is_possible, itertools.combinations(jobs, n))))
    assert len(kept) == best
    assert is_possible(tuple((s.prefill_tokens_left, s.due_s) for s in kept))
