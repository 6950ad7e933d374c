import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.goodput import Goodput, Measured, search_goodput

Curve = Callable[[float], tuple[float, ...]]


def found(curve: Curve, start_per_s: float = 1.0, *, spoiled_above: float = math.inf, **limits: Any) -> Goodput:
    defaults: dict[str, Any] = {"lowest_per_s": 0.01, "highest_per_s": 1e4, "target": 0.9, "tolerance": 0.05}
    told = {**defaults, "most_rates": 40, **limits}
    search = search_goodput(start_per_s, **told)
    rate_per_s = next(search)
    while True:
        spoiled = "1 request was late" if rate_per_s > spoiled_above else None
        try:
            rate_per_s = search.send(Measured(curve(rate_per_s), spoiled))
        except StopIteration as ended:
            goodput: Goodput = ended.value
            return goodput


def knee(at_per_s: float) -> Curve:
    """All is well up to a rate, then little is."""
    return lambda rate_per_s: (1.0,) * 3 if rate_per_s <= at_per_s else (0.2,) * 3


@given(st.floats(0.02, 5000.0), st.floats(0.02, 5000.0))
def test_the_knee_is_found_within_the_tolerance_from_wherever_it_begins(at_per_s, start_per_s):
    goodput = found(knee(at_per_s), start_per_s)
    assert goodput.rate_per_s is not None
    assert goodput.fails_at_per_s is not None
    assert goodput.rate_per_s <= at_per_s < goodput.fails_at_per_s
    assert goodput.fails_at_per_s <= 1.05 * goodput.rate_per_s
    assert len(goodput.points) < 30


def test_a_slope_is_crossed_where_it_meets_the_target():
    goodput = found(lambda rate_per_s: (1.0 - rate_per_s / 100,), tolerance=0.01)
    assert goodput.rate_per_s == pytest.approx(10.0, rel=0.01)


def test_what_never_fails_ends_at_the_highest_rate_and_says_so():
    goodput = found(lambda _: (1.0,), highest_per_s=50.0)
    assert (goodput.rate_per_s, goodput.fails_at_per_s) == (50.0, None)
    assert "may be higher" in goodput.reason
    assert (goodput.sure, goodput.doubtful) == (False, False)


def test_what_always_fails_has_no_goodput():
    goodput = found(lambda _: (0.5,), lowest_per_s=0.25)
    assert (goodput.rate_per_s, goodput.fails_at_per_s) == (None, 0.25)
    assert "lowest rate" in goodput.reason


def test_a_rate_above_one_that_failed_does_not_count():
    lucky = {1.0: 1.0, 2.0: 1.0, 4.0: 0.1}
    goodput = found(lambda rate_per_s: (lucky.get(rate_per_s, 0.1 if rate_per_s < 3.0 else 1.0),), most_rates=8)
    assert goodput.rate_per_s == 2.0
    assert goodput.fails_at_per_s is not None
    assert goodput.fails_at_per_s < 3.0


def test_a_spoiled_measurement_ends_the_search_with_what_was_found():
    goodput = found(knee(1000.0), spoiled_above=10.0)
    assert goodput.rate_per_s == 8.0
    assert goodput.reason == "at 16 requests/s the measurement was spoiled: 1 request was late"


def test_the_search_ends_after_as_many_rates_as_allowed():
    goodput = found(knee(100.0), most_rates=3)
    assert [point.rate_per_s for point in goodput.points] == [1.0, 2.0, 4.0]
    assert "limit" in goodput.reason
    assert goodput.rate_per_s == 4.0


def test_it_is_sure_where_both_intervals_lie_on_their_sides():
    goodput = found(knee(10.0))
    assert (goodput.sure, goodput.doubtful) == (True, False)


def test_it_is_not_sure_where_repeats_scatter_across_the_target():
    draw = random.Random(1)
    noisy = found(lambda rate_per_s: tuple(1.0 - rate_per_s / 100 + draw.gauss(0, 0.05) for _ in range(3)))
    assert (noisy.sure, noisy.doubtful) == (False, True)


def test_single_runs_are_never_sure():
    assert not found(lambda rate_per_s: (1.0 if rate_per_s < 10 else 0.0,)).sure
