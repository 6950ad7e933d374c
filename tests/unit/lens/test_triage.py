"""As many prompts on time as can be, and no word about the others but their order."""

import itertools

import pytest

from services.lens.sequence import Sequence
from services.lens.triage import triage
from shared.slo import Slo
from tests.unit.lens.builders import in_engine, sequence


def due(prompt_tokens: int, ttft_s: float, *, tenant: str = "", priority: int = 0) -> Sequence:
    made = sequence(prompt_tokens, slo=Slo(ttft_s=ttft_s))
    made.tenant, made.priority = tenant, priority
    return made


def test_all_that_can_be_on_time_are_by_what_is_due_first():
    later, sooner = due(100, 3.0), due(100, 2.0)
    assert triage([later, sooner], starts_s=0.0, tokens_per_s=100.0, served_tokens={}) == ([sooner, later], [])


def test_the_longest_is_given_up_where_not_all_can_be_on_time():
    long, short, last = due(200, 2.0), due(60, 2.1), due(60, 2.2)
    assert triage([long, short, last], starts_s=0.0, tokens_per_s=100.0, served_tokens={}) == ([short, last], [long])


def test_what_is_late_by_itself_harms_nobody():
    late, on_time = due(300, 1.0), due(100, 1.5)
    assert triage([late, on_time], starts_s=0.0, tokens_per_s=100.0, served_tokens={}) == ([on_time], [late])


def test_a_started_prompt_counts_with_what_is_left_of_it():
    started, whole = in_engine(due(200, 1.0), 150), due(120, 1.5)
    assert triage([whole, started], starts_s=0.0, tokens_per_s=100.0, served_tokens={}) == ([started], [whole])


def test_of_several_tenants_the_one_gives_up_that_would_come_to_have_had_most():
    flooding = [due(60, 2.0, tenant="flooding") for _ in range(3)]
    modest = due(100, 2.1, tenant="modest")
    on_time, relegated = triage([*flooding, modest], starts_s=0.0, tokens_per_s=100.0, served_tokens={})
    assert (on_time, relegated) == ([flooding[2], modest], flooding[:2])


def test_what_a_tenant_was_served_before_counts():
    first, second = due(150, 2.0, tenant="first"), due(140, 2.0, tenant="second")
    kept = triage([first, second], starts_s=0.0, tokens_per_s=100.0, served_tokens={"second": 20.0}).on_time
    assert kept == [first]


def test_a_higher_priority_goes_first_and_what_is_lower_has_the_time_that_is_left():
    urgent, lower, last = due(100, 3.0, priority=1), due(100, 1.5), due(100, 2.5)
    on_time, relegated = triage([lower, last, urgent], starts_s=0.0, tokens_per_s=100.0, served_tokens={})
    assert (on_time, relegated) == ([urgent, last], [lower])


@pytest.mark.parametrize("seed", range(5))
def test_no_other_choice_has_more_on_time(seed):
    jobs = [((seed * 37 + place * 53) % 97 + 3, (seed * 11 + place * 29) % 31 / 10) for place in range(9)]
    kept = triage(
        [due(tokens, ttft_s) for tokens, ttft_s in jobs], starts_s=0.0, tokens_per_s=100.0, served_tokens={}
    ).on_time

    def is_possible(chosen: tuple[tuple[int, float], ...]) -> bool:
        ends_s = itertools.accumulate(tokens / 100.0 for tokens, _ in sorted(chosen, key=lambda job: job[1]))
        return all(
            end_s <= due_s for end_s, (_, due_s) in zip(ends_s, sorted(chosen, key=lambda job: job[1]), strict=True)
        )

    best = max(n for n in range(10) if any(map(is_possible, itertools.combinations(jobs, n))))
    assert len(kept) == best
    assert is_possible(tuple((s.prefill_tokens_left, s.due_s) for s in kept))
