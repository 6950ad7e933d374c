"""The loads of the scale experiment: fleets of three sizes, several routers, late telemetry, wrong predictions. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadgen.experiments.prism_loads import A100, H100, TWO_A6000
from loadgen.experiments.workloads import Part

ASKED = "three classes"
"""Of `WORKLOADS`."""
DEALT = (H100, A100, A100, TWO_A6000, TWO_A6000)
"""Profiles, engine by engine, over and over: fleets of all sizes are made of the same parts."""
RATE_EACH = 4.5
"""Requests a second and engine."""
FEW, SOME, MANY = 10, 100, 1000
ROUTERS = (1, 2, 4, 8)
DELAYS_S = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0)
LESS, MORE = 0.8, 1.2
"""What step times are taken for, of what was learned of them."""
LONG_S, FULL_S = 10.0, 30.0
"""For which requests arrive, and where it is to be shown in documents."""
SOME_S, MANY_S = 3.0, 0.25
"""Where there are 100 engines and 1,000: a run is to take no more than a minute."""


class Point(NamedTuple):
    """A fleet, its routers, and what they know."""

    engines: int = FEW
    replicas: int = 1
    delay_s: float = 0.05
    misjudged: tuple[float, ...] = ()
    arriving_s: float = LONG_S

    @property
    def rate_per_s(self) -> float:
        """Requests a second."""
        return round(RATE_EACH * self.engines, 2)

    @property
    def name(self) -> str:
        """What its rows are known by."""
        routers = "1 router" if self.replicas == 1 else f"{self.replicas} routers"
        wrong = f", times {' or '.join(f'{factor:g}' for factor in self.misjudged)}" if self.misjudged else ""
        return f"{self.engines} engines, {routers}, {1e3 * self.delay_s:g} ms late{wrong}, {self.arriving_s:g} s"

    @property
    def part(self) -> Part:
        """What is drawn for it."""
        return Part(ASKED, self.rate_per_s)

    @property
    def fleet(self) -> Mapping[str, str]:
        """Profiles by name."""
        return {f"engine-{number:04}": DEALT[number % len(DEALT)] for number in range(self.engines)}


class Sweep(NamedTuple):
    """Points that differ in one thing."""

    title: str
    points: Mapping[str, Point]
    """By that thing."""


SIZE, ROUTING, LATENESS, ERROR = "engines", "routers", "telemetry delay, s", "prediction error"
ONE, MOST = f"{ROUTERS[0]}", f"{ROUTERS[-1]}"
"""Routers, as the sweep has them."""


def at_size(engines: int, arriving_s: float) -> str:
    """What a fleet is called in the sweep over sizes."""
    return f"{engines:,} ({arriving_s:g} s)"


def sweeps(long_s: float) -> Sequence[Sweep]:
    """All of them.

    Args:
        long_s: for which requests arrive where engines are few.
    """
    usual = Point(arriving_s=long_s)
    sizes = ((FEW, SOME_S), (SOME, SOME_S), (FEW, MANY_S), (SOME, MANY_S), (MANY, MANY_S))
    return (
        Sweep(
            SIZE,
            {at_size(engines, for_s): Point(engines=engines, arriving_s=for_s) for engines, for_s in sizes},
        ),
        Sweep(ROUTING, {f"{replicas}": usual._replace(replicas=replicas) for replicas in ROUTERS}),
        Sweep(LATENESS, {f"{delay_s:g}": usual._replace(delay_s=delay_s) for delay_s in DELAYS_S}),
        Sweep(
            ERROR,
            {
                "−20 %": usual._replace(misjudged=(LESS,)),
                "none": usual,
                "+20 %": usual._replace(misjudged=(MORE,)),
                "±20 %": usual._replace(misjudged=(LESS, MORE)),
            },
        ),
    )


def points(swept: Sequence[Sweep]) -> Sequence[Point]:
    """Each once: some are part of several sweeps."""
    return tuple(dict.fromkeys(point for sweep in swept for point in sweep.points.values()))


SWEEPS, FULL_SWEEPS = sweeps(LONG_S), sweeps(FULL_S)


def hurried(sweep: Sweep, times: float) -> Sweep:
    """Its ends in so many times less time, without the largest fleet."""
    kept = [value for value, point in sweep.points.items() if point.engines < MANY]
    return sweep._replace(
        points={
            value: sweep.points[value]._replace(arriving_s=sweep.points[value].arriving_s / times)
            for value in (kept[0], kept[-1])
        }
    )


SMOKED: Sequence[Sweep] = [hurried(sweep, 20.0) for sweep in SWEEPS]
