"""Means with 95 % confidence intervals over a few repeats: Student's t. Pure."""

import math
import statistics
from collections.abc import Sequence

import msgspec

# Two-sided 95 % points of Student's t for 1 to 30 degrees of freedom, from the published tables.
_T_95 = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)


class Estimate(msgspec.Struct, frozen=True):
    """A mean over repeats."""

    mean: float
    ci95: float | None
    """Half the width of the mean's 95 % confidence interval; None where there is one value."""
    count: int


def estimate(values: Sequence[float]) -> Estimate:
    """Of at least one value."""
    mean = math.fsum(values) / len(values)
    if len(values) < 2:
        return Estimate(mean, None, len(values))
    error = statistics.stdev(values) / math.sqrt(len(values))
    return Estimate(mean, t_95(len(values) - 1) * error, len(values))


def t_95(freedom: int) -> float:
    """The two-sided 95 % point of Student's t, to four digits."""
    if freedom <= len(_T_95):
        return _T_95[freedom - 1]
    z = statistics.NormalDist().inv_cdf(0.975)
    # Abramowitz & Stegun 26.7.5: a series in 1/freedom, which is small here.
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
