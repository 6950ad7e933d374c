"""Chances that are given come true as often as they say, whatever they were foreseen to be."""

import random

import pytest

from services.prism.chances_kept import ChancesKept


def taught(*promises: tuple[float, float], number: int = 2000) -> ChancesKept:
    """By promises with a chance foreseen and one that they really had."""
    chances, draws = ChancesKept(), random.Random(1)
    for place in range(number):
        foreseen, real = promises[place % len(promises)]
        chances.note(foreseen, draws.random() < real)
    return chances


@pytest.mark.parametrize("foreseen", [0.01, 0.3, 0.5, 0.9])
def test_before_anything_is_known_a_chance_is_what_it_was_foreseen_to_be(foreseen: float) -> None:
    assert ChancesKept().corrected(foreseen) == pytest.approx(foreseen)


def test_chances_that_came_true_as_foreseen_stay() -> None:
    chances = taught((0.2, 0.2), (0.5, 0.5), (0.9, 0.9))
    assert [chances.corrected(p) for p in (0.2, 0.5, 0.9)] == pytest.approx([0.2, 0.5, 0.9], abs=0.08)


def test_chances_that_were_too_low_are_raised_to_what_came() -> None:
    chances = taught((0.4, 0.8), (0.7, 0.95))
    assert [chances.corrected(p) for p in (0.4, 0.7)] == pytest.approx([0.8, 0.95], abs=0.08)


def test_more_hope_is_never_less() -> None:
    perverse = taught((0.2, 0.9), (0.9, 0.2))
    corrected = [perverse.corrected(p / 10) for p in range(11)]
    assert corrected == sorted(corrected)


def test_what_was_long_ago_is_forgotten() -> None:
    chances, draws = taught((0.5, 0.99)), random.Random(2)
    for _ in range(1500):
        chances.note(0.5, draws.random() < 0.5)
    assert chances.corrected(0.5) == pytest.approx(0.5, abs=0.12)


def test_a_long_time_of_promises_that_were_all_alike_is_forgotten_as_soon() -> None:
    chances, draws = taught((1.0, 0.995), number=30_000), random.Random(2)
    for _ in range(1000):
        chances.note(1.0, draws.random() < 0.5)
    assert chances.corrected(1.0) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("kept", [True, False])
def test_nothing_that_comes_makes_it_sure_or_takes_it_out_of_bounds(kept: bool) -> None:
    chances = ChancesKept()
    for foreseen in (0.0, 1.0, 0.5) * 3000:
        chances.note(foreseen, kept)
        assert all(0.0 < chances.corrected(p) < 1.0 for p in (0.0, 0.5, 1.0))
    chances.note(0.5, not kept)
    assert 0.0 < chances.corrected(0.5) < 1.0
