"""Whether runs on emulated engines count, by two readings of how late their steps ended."""

import pytest

from loadgen.engines import Engine, StepModelCard
from loadgen.lateness import Lateness, emulated_engines, emulation_notice, lateness_between
from shared.step import LATENESS_BOUNDS_MS


def counts(*, punctual: int = 0, over_200_us: int = 0, over_1_ms: int = 0) -> tuple[int, ...]:
    """Steps that ended at most 0.05 ms late, between 0.2 and 0.5 ms, and between 1 and 2 ms."""
    by_upper_bound = {0.05: punctual, 0.5: over_200_us, 2.0: over_1_ms}
    return (*(by_upper_bound.get(bound_ms, 0) for bound_ms in LATENESS_BOUNDS_MS), 0)


def emulated(name: str, *lateness_counts: int) -> Engine:
    return Engine(name, "h100-emulated", StepModelCard(), emulated=True, lateness_counts=lateness_counts)


def overloads(lateness_counts: tuple[int, ...]) -> tuple[str, ...]:
    return Lateness("h100", lateness_counts).overloads


def test_one_step_in_a_hundred_may_be_a_millisecond_late_and_no_more():
    assert overloads(counts(punctual=990, over_1_ms=10)) == ()
    assert overloads(counts(punctual=9_890, over_1_ms=110)) == (
        "emulated engine h100: 110 of 10,000 steps (1.1%) ended more than 1 ms late, 1% may",
    )


def test_half_the_steps_may_be_a_little_late_and_no_more():
    assert overloads(counts(punctual=50, over_200_us=50)) == ()
    assert overloads(counts(punctual=49, over_200_us=51)) == (
        "emulated engine h100: 51 of 100 steps (51.0%) ended more than 0.2 ms late, 50% may",
    )


def test_steps_a_millisecond_late_are_more_than_a_little_late_too():
    assert len(overloads(counts(over_1_ms=100))) == 2


@pytest.mark.parametrize("punctual", [0, 1, 50])
def test_a_single_late_step_says_nothing(punctual):
    assert overloads(counts(punctual=punctual, over_1_ms=1)) == ()
    assert overloads(counts(punctual=punctual, over_1_ms=2)) != ()


def test_steps_beyond_the_last_bound_count_as_late():
    assert len(overloads((50, *(0 for _ in LATENESS_BOUNDS_MS[1:]), 50))) == 1


def test_what_was_counted_before_the_run_is_not_the_run_s():
    assert lateness_between([emulated("a", 5, 90)], [emulated("a", 105, 91)]) == (Lateness("a", (100, 1)),)


def test_an_engine_that_came_during_the_run_counts_from_its_start():
    assert lateness_between([], [emulated("a", 3, 1)]) == (Lateness("a", (3, 1)),)


def test_an_engine_that_restarted_during_the_run_counts_from_its_start():
    assert lateness_between([emulated("a", 500, 2)], [emulated("a", 30, 3)]) == (Lateness("a", (30, 3)),)


def test_engines_that_ran_nothing_or_are_real_or_left_have_no_lateness():
    real = Engine("large", "cpu", StepModelCard())
    before = [real, emulated("idle", 7, 1), emulated("gone", 1, 0)]
    assert lateness_between(before, [real, emulated("idle", 7, 1)]) == ()


def test_the_notice_names_emulated_engines_and_how_punctual_they_were():
    engines = [emulated("a"), Engine("large", "cpu", StepModelCard()), emulated("b"), emulated("a")]
    assert emulated_engines(engines) == ("a", "b")
    late = [Lateness("a", counts(punctual=2_998, over_1_ms=2)), Lateness("b", counts(punctual=1_000))]
    notice = emulation_notice(("a", "b"), late)
    assert notice == (
        "EMULATED: a, b took the time of profiled GPUs and computed nothing; 0.1% of 4,000 steps ended more than 1 ms late"
    )


def test_without_emulated_engines_there_is_no_notice():
    assert emulation_notice((), ()) is None


def test_engines_whose_steps_nobody_counted_are_named_all_the_same():
    assert emulation_notice(("a",), ()) == "EMULATED: a took the time of profiled GPUs and computed nothing"
