"""When requests arrive, whatever the system under load is doing: seconds from the start of a run. Pure.

Every process has its first arrival after a gap, too; rates are means.
"""

from collections.abc import Sequence

import numpy as np


def constant_arrivals(rate_per_s: float, count: int) -> tuple[float, ...]:
    """Instants 1/`rate_per_s` apart."""
    return tuple((np.arange(1, count + 1) / rate_per_s).tolist())


def poisson_arrivals(rate_per_s: float, count: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Instants with exponential gaps of mean 1/`rate_per_s`; the first one comes after such a gap too."""
    return tuple(np.cumsum(rng.exponential(1 / rate_per_s, count)).tolist())


def gamma_arrivals(rate_per_s: float, cv: float, count: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Instants with gamma gaps whose coefficient of variation is `cv`: 1 is Poisson, more comes in bursts."""
    shape = 1 / cv**2
    return tuple(np.cumsum(rng.gamma(shape, 1 / (rate_per_s * shape), count)).tolist())


def ramp_arrivals(from_per_s: float, to_per_s: float, count: int, rng: np.random.Generator) -> tuple[float, ...]:
    """A Poisson process whose rate goes evenly from one value to the other while `count` requests are expected."""
    duration_s = 2 * count / (from_per_s + to_per_s)
    slope = (to_per_s - from_per_s) / duration_s
    # A Poisson process of rate 1, its time bent so that ∫ rate dt equals it; past the end the last rate stays.
    expected = np.cumsum(rng.exponential(1.0, count))
    within = np.minimum(expected, count)
    if slope == 0:
        bent_s = within / from_per_s
    else:
        # The root in the form that does not cancel where the slope is slight.
        bent_s = 2 * within / (from_per_s + np.sqrt(np.maximum(from_per_s**2 + 2 * slope * within, 0.0)))
    return tuple((bent_s + (expected - within) / to_per_s).tolist())


def mean_rate_per_s(at_s: Sequence[float]) -> float:
    """What arrivals in this order come to; 0 where all of them are in one instant."""
    lasts_s = at_s[-1] - at_s[0]
    return (len(at_s) - 1) / lasts_s if lasts_s else 0.0


def replayed_arrivals(at_s: Sequence[float], rate_per_s: float | None = None) -> tuple[float, ...]:
    """A trace's own instants from its first; with a rate, stretched or squeezed so that it is their mean.

    Raises:
        ValueError: a rate is asked for, and all arrivals are in one instant.
    """
    began_s, ended_s = at_s[0], at_s[-1]
    if rate_per_s is None:
        factor = 1.0
    elif ended_s > began_s:
        factor = (len(at_s) - 1) / rate_per_s / (ended_s - began_s)
    else:
        raise ValueError("arrivals in one instant have no rate to change")
    return tuple((instant_s - began_s) * factor for instant_s in at_s)
