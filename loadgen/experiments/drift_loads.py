"""The loads of the drift experiment: what befalls the fleet in mid-run, and how much is asked of it meanwhile. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from loadgen.experiments.prism_loads import ENGINES, SLOWED, SLOWNESS
from loadgen.experiments.workloads import Part
from loadgen.simulate.fleet import Die, Incident, Join, Slow

ASKED = "three classes"
"""Of `WORKLOADS`."""
STRUCK = SLOWED
"""The fastest engine: that it fares otherwise costs most."""
DELAY_S = 0.05
"""Of telemetry and of announcements."""


class Stretch(NamedTuple):
    """Arrivals between two instants."""

    from_s: float
    to_s: float


class Timeline(NamedTuple):
    """When what happens in a run, and which arrivals are looked at; all a whole number of windows."""

    window_s: float
    before_from_s: float
    """Arrivals before are served while nothing has been learned yet."""
    before_to_s: float
    """Later ones may still be there when it happens."""
    at_s: float
    """The incident."""
    back_s: float
    """So long the fleet has to come back."""
    judged_s: float
    """From then on it is looked at for so long."""
    arriving_s: float

    @property
    def before(self) -> Stretch:
        """As it was."""
        return Stretch(self.before_from_s, self.before_to_s)

    @property
    def meanwhile(self) -> Stretch:
        """While it may be worse."""
        return Stretch(self.at_s, self.at_s + self.back_s)

    @property
    def after(self) -> Stretch:
        """When it is to be as it was."""
        return Stretch(self.at_s + self.back_s, self.at_s + self.back_s + self.judged_s)

    def shortened(self, times: float) -> "Timeline":
        """The same in so many times less time."""
        return Timeline(*(each_s / times for each_s in self))


TIMELINE = Timeline(2.5, 10.0, 20.0, 30.0, 10.0, 10.0, 55.0)
SMOKED_TIMELINE = TIMELINE.shortened(10.0)


class Kind(StrEnum):
    """What befalls the engine."""

    SLOWS = "slows"
    DIES = "dies"
    JOINS = "joins"


class Line(NamedTuple):
    """A load, and what befalls the fleet under it."""

    kind: Kind
    rate_per_s: float
    anew: bool = False
    """Whether the fleet has been as it is then from the beginning: what it attains so is what is to be had."""

    @property
    def name(self) -> str:
        """Of what is run."""
        return f"{STRUCK} {self.kind}{', as from the beginning' if self.anew else ''}"

    @property
    def key(self) -> tuple[str, float]:
        """What its rows are known by."""
        return self.name, self.rate_per_s

    @property
    def told(self) -> str:
        """For people."""
        return f"{self.name} {self.rate_per_s:g}"

    @property
    def part(self) -> Part:
        """What is drawn for it."""
        return Part(ASKED, self.rate_per_s)

    @property
    def engines(self) -> Mapping[str, str]:
        """Profiles by name, of those that are there from the beginning."""
        is_there = self.kind is Kind.SLOWS or (self.kind is Kind.JOINS) == self.anew
        return {name: profile for name, profile in ENGINES.items() if is_there or name != STRUCK}

    def incidents(self, at_s: float) -> Sequence[Incident]:
        """What befalls the fleet.

        Args:
            at_s: in mid-run.
        """
        if self.kind is Kind.SLOWS:
            return (Slow(0.0 if self.anew else at_s, STRUCK, SLOWNESS),)
        if self.anew:
            return ()
        return (Die(at_s, STRUCK) if self.kind is Kind.DIES else Join(at_s, STRUCK, ENGINES[STRUCK]),)


CARRIED: Sequence[Line] = (Line(Kind.SLOWS, 12.0), Line(Kind.DIES, 6.0), Line(Kind.JOINS, 6.0))
"""What the smaller fleet can carry too."""
BEYOND: Sequence[Line] = (Line(Kind.SLOWS, 18.0), Line(Kind.DIES, 12.0), Line(Kind.JOINS, 12.0))
"""What only the larger can."""
LINES: Sequence[Line] = (*CARRIED, *BEYOND)
SMOKED: Sequence[Line] = (CARRIED[0], *BEYOND[1:])
