import math
import statistics

import pytest
from scipy.stats import t

from loadgen.student import Estimate, estimate, t_95


@pytest.mark.parametrize("freedom", [*range(1, 31), 31, 40, 100, 1000])
def test_the_points_are_those_of_students_t(freedom):
    assert t_95(freedom) == pytest.approx(t.ppf(0.975, freedom), abs=1e-4)


def test_an_interval_is_as_wide_as_the_textbook_has_it():
    values = [90.0, 92.0, 94.0, 93.0, 91.0]
    found = estimate(values)
    assert (found.mean, found.count) == (92.0, 5)
    assert found.ci95 == pytest.approx(2.7764 * statistics.stdev(values) / math.sqrt(5))


def test_one_value_has_no_interval():
    assert estimate([3.0]) == Estimate(3.0, None, 1)
