"""How far a simulated run is from the real one that it stands for, and how far it may be. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from loadgen.score import Score, Spread


class Tolerance(NamedTuple):
    """What counts as agreement; fractions."""

    attainment: float
    """Of the requests offered, apart."""
    p50: float
    """Of the real value."""
    p95: float


class Gap(NamedTuple):
    """One figure, real and simulated."""

    figure: str
    real: float
    simulated: float
    apart: float
    """Simulated − real for attainment, simulated ÷ real − 1 for times."""
    tolerance: float

    @property
    def is_within(self) -> bool:
        """Whether the two agree."""
        return abs(self.apart) <= self.tolerance


class Incomparable(ValueError):
    """A run has no times: none of its requests ended well."""


def gaps(real: Score, simulated: Score, tolerance: Tolerance) -> Sequence[Gap]:
    """Attainment, and the middle and the tail of both latencies.

    Raises:
        Incomparable: a run has no times.
    """
    apart = simulated.attainment - real.attainment
    return [
        Gap("attainment", real.attainment, simulated.attainment, apart, tolerance.attainment),
        *_time_gaps("ttft", real.ttft_s, simulated.ttft_s, tolerance),
        *_time_gaps("tpot", real.tpot_s, simulated.tpot_s, tolerance),
    ]


def _time_gaps(name: str, real: Spread | None, simulated: Spread | None, tolerance: Tolerance) -> Sequence[Gap]:
    if real is None or simulated is None:
        raise Incomparable(f"no {name} in the {'real' if real is None else 'simulated'} run")
    return [
        Gap(f"{name}_p50_s", real.p50, simulated.p50, simulated.p50 / real.p50 - 1.0, tolerance.p50),
        Gap(f"{name}_p95_s", real.p95, simulated.p95, simulated.p95 / real.p95 - 1.0, tolerance.p95),
    ]
