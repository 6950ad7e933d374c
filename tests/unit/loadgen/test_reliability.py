"""Chances that were foreseen, against what came of them."""

import pytest

from loadgen.reliability import Bin, pooled, reliability


def test_nobody_who_foresaw_nothing_is_judged():
    assert reliability([(None, True), (None, False)]) is None
    assert pooled([]) is None


def test_brier_is_the_mean_square_of_how_far_a_chance_was_from_what_came():
    judged = reliability([(1.0, True), (0.5, False), (None, False), (0.0, True)])
    assert judged is not None
    assert judged.count == 3
    assert judged.brier == pytest.approx((0.0 + 0.25 + 1.0) / 3)


def test_chances_are_gathered_by_tenths_and_certainty_is_in_the_last():
    judged = reliability([(1.0, True), (0.9375, False), (0.3125, True), (0.375, False)])
    assert judged is not None
    assert judged.bins == {3: Bin(2, 0.34375, 0.5), 9: Bin(2, 0.96875, 0.5)}


def test_parts_together_are_judged_as_if_they_had_been_one():
    first, second = [(0.95, True), (0.1, False)], [(0.9, False), (0.97, True), (0.55, True)]
    parts = [part for chances in (first, second) if (part := reliability(chances)) is not None]
    together, whole = pooled(parts), reliability([*first, *second])
    assert together is not None
    assert whole is not None
    assert together.brier == pytest.approx(whole.brier)
    assert together.bins.keys() == whole.bins.keys()
    tenth = together.bins[9]
    assert tenth.count == 3
    assert (tenth.foreseen, tenth.kept) == pytest.approx((0.94, 2 / 3))


def test_who_always_says_the_share_that_was_kept_has_the_variance_of_what_came():
    judged = reliability([(0.95, True), (0.5, True), (0.3, False), (0.1, True)])
    assert judged is not None
    assert judged.constant_brier == pytest.approx(0.75 * 0.25)
