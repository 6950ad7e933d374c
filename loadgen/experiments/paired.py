"""What was to be shown of differences seed by seed, each with its 95 % interval. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from loadgen.experiments.criteria import ROUNDING
from loadgen.student import Estimate


class Paired(NamedTuple):
    """By how much ours is more than something else, over the same seeds."""

    where: str
    beside: str
    """What else, with its own figure where that helps."""
    fraction: Estimate

    @property
    def points(self) -> float:
        """Of a hundred."""
        return 100 * self.fraction.mean

    @property
    def told(self) -> str:
        """For people."""
        interval = "" if self.fraction.ci95 is None else f" ± {100 * self.fraction.ci95:.1f}"
        return f"{self.points:+.1f}{interval} beside {self.beside} ({self.where})"


class PairedCriterion(NamedTuple):
    """So much more it was to be at least, on average over seeds."""

    wanted: str
    least_points: float
    pairs: Sequence[Paired]
    """Each must be so large."""

    @property
    def verdict(self) -> str:
        """Whether it is met, or by how much not, and where."""
        missed = [pair for pair in self.pairs if pair.points < self.least_points - ROUNDING]
        if not missed:
            return "met"
        return "missed by " + ", ".join(f"{self.least_points - pair.points:.1f} ({pair.where})" for pair in missed)

    @property
    def found(self) -> str:
        """The least and the most."""
        least, most = (choose(self.pairs, key=lambda pair: pair.points) for choose in (min, max))
        return least.told if least == most else f"from {least.told} to {most.told}"
