"""Figures that were to be so large or so small, with their intervals: compared run by run, over workloads. Pure."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from loadgen.experiments.criteria import ROUNDING
from loadgen.student import Estimate, estimate

POINTS, TIMES, PERCENT = " points", "×", " %"
BySeed = Sequence[float]
"""A value a seed; of any two, those of a seed belong together."""


class Goal(NamedTuple):
    """What was to be reached, and what was."""

    wanted: str
    goal: float
    reached: Estimate
    unit: str
    parts: Mapping[str, float] = {}
    """What it is the mean or the least of."""
    at_most: bool = False

    @property
    def found(self) -> str:
        """The mean with its interval, and its parts."""
        parts = ", ".join(f"{name} {self._number(value)}" for name, value in self.parts.items())
        return f"{with_interval(self.reached, self.unit)}{f' ({parts})' if parts else ''}"

    @property
    def verdict(self) -> str:
        """Whether it is met, or by how much not; and whether chance could have it otherwise."""
        ahead = (self.goal - self.reached.mean) if self.at_most else (self.reached.mean - self.goal)
        told = "met" if ahead >= -ROUNDING else f"missed by {_number(-ahead, self.unit)}"
        doubt = self.reached.ci95
        return told if doubt is None or abs(ahead) >= doubt else f"{told}; the interval holds both"

    def _number(self, value: float) -> str:
        return f"{value:+.1f}" if self.unit == POINTS else _number(value, self.unit)


def with_interval(value: Estimate, unit: str) -> str:
    """As a page shows it."""
    signed = "+" if unit == POINTS else ""
    digits = 2 if unit == TIMES else 1
    interval = "" if value.ci95 is None else f" ± {value.ci95:.{digits}f}"
    return f"{value.mean:{signed}.{digits}f}{interval}{unit}"


def over_workloads(by_workload: Mapping[str, BySeed]) -> Estimate:
    """The mean over workloads, with the interval that its seeds leave it."""
    return estimate([math.fsum(of_seed) / len(of_seed) for of_seed in zip(*by_workload.values(), strict=True)])


def means(by_workload: Mapping[str, BySeed]) -> Mapping[str, float]:
    """Of each workload."""
    return {name: math.fsum(values) / len(values) for name, values in by_workload.items()}


def points_ahead(ours: BySeed, theirs: BySeed) -> BySeed:
    """Of fractions, run by run, of a hundred."""
    return [100 * (mine - other) for mine, other in zip(ours, theirs, strict=True)]


def falls_to(target: float, attained: Mapping[float, float]) -> float:
    """The rate at which attainment falls to its target, between the rates that were run; where it never does, the highest.

    Args:
        attained: by rate; with no load at all, everything is.
    """
    points = [(0.0, 1.0), *sorted(attained.items())]
    for (rate, before), (next_rate, after) in pairwise(points):
        if after < target <= before:
            return rate + (next_rate - rate) * (before - target) / (before - after)
    return points[-1][0]


def at_rate(rate: float, values: Mapping[float, float]) -> float:
    """What comes of a rate, between those that were run: of none nothing does.

    Args:
        values: by rate.
    """
    points = [(0.0, 0.0), *sorted(values.items())]
    for (before, value), (after, next_value) in pairwise(points):
        if rate <= after:
            return value + (next_value - value) * (rate - before) / (after - before)
    return points[-1][1]


def _number(value: float, unit: str) -> str:
    return f"{value:.2f}{unit}" if unit == TIMES else f"{value:.1f}{unit}"
