"""The loads of the scale experiment: fleets of three sizes, several routers, late telemetry, wrong predictions. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadgen.experiments.prism_loads import A100, H100, TWO_A6000
from loadgen.experiments.workloads import Part

ASKED = "three classes"
"""Of `WORKLOADS`."""
DEALT = (H100, A100, A100, TWO_A6000, TWO_A6000)
"""Profiles, engine by engine, over and over: fleets of all sizes are made of the same parts."""
RATE_EACH = 3.6
"""Requests a second and engine."""
FEW, SOME, MANY = 10, 100, 1000
ROUTERS = (1, 2, 4, 8)
DELAYS_S = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0)
LESS, MORE = 0.8, 1.2
"""What step times are taken for, of what was learned of them."""
LONG_S, SHORT_S = 20.0, 2.0
"""For which requests arrive; short where engines are many."""


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


ENGINES = Sweep(
    "engines", {f"{engines:,}": Point(engines=engines, arriving_s=SHORT_S) for engines in (FEW, SOME, MANY)}
)
REPLICAS = Sweep("routers", {f"{replicas}": Point(replicas=replicas) for replicas in ROUTERS})
DELAYS = Sweep("telemetry delay, s", {f"{delay_s:g}": Point(delay_s=delay_s) for delay_s in DELAYS_S})
ERRORS = Sweep(
    "prediction error",
    {
        "−20 %": Point(misjudged=(LESS,)),
        "none": Point(),
        "+20 %": Point(misjudged=(MORE,)),
        "±20 %": Point(misjudged=(LESS, MORE)),
    },
)
SWEEPS: Sequence[Sweep] = (ENGINES, REPLICAS, DELAYS, ERRORS)


def points(sweeps: Sequence[Sweep]) -> Sequence[Point]:
    """Each once: some are part of several sweeps."""
    return tuple(dict.fromkeys(point for sweep in sweeps for point in sweep.points.values()))


def hurried(sweep: Sweep, times: float, most_engines: int) -> Sweep:
    """The same in so many times less time, without the largest fleets."""
    kept = {
        value: point._replace(arriving_s=point.arriving_s / times)
        for value, point in sweep.points.items()
        if point.engines <= most_engines
    }
    return sweep._replace(points=kept)


SMOKED: Sequence[Sweep] = [hurried(sweep, 20.0, SOME) for sweep in SWEEPS]
