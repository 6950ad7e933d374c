"""The loads of the lens experiment: workloads on their hardware, each at rates that are told in its capacity. Pure."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from loadgen.experiments.workloads import Part

LIGHT, CAPACITY, OVER, FAR_OVER = 0.75, 1.0, 1.2, 1.3
TIMES_CAPACITY = (LIGHT, CAPACITY, OVER, FAR_OVER)
STRAIGHT, MEASURED = "h100-qwq-32b", "2xa6000-llama3.1-8b"
"""The one takes a straight line's time for a step; the other a profile's, with what was measured of its knees and jumps."""


class Workload(NamedTuple):
    """What is asked of one engine."""

    name: str
    parts: tuple[Part, ...]
    """One after the other, each at its capacity: the rate at which the best fixed budget without relegation, chosen for it
    after the fact, attains about 90 %; found with seeds other than the experiment's."""
    hardware: str = STRAIGHT

    @property
    def shifts(self) -> bool:
        """Whether what is asked changes in mid-run."""
        return len(self.parts) > 1


class Line(NamedTuple):
    """A workload at a rate: a line of the page's tables."""

    workload: Workload
    times_capacity: float

    @property
    def parts(self) -> tuple[Part, ...]:
        """Of the workload, at this line's rates."""
        return tuple(part._replace(rate_per_s=self.times_capacity * part.rate_per_s) for part in self.workload.parts)

    @property
    def rate_per_s(self) -> float:
        """Requests a second over all of the run; its parts have as many requests each."""
        mean = len(self.parts) / math.fsum(1.0 / part.rate_per_s for part in self.parts)
        return round(mean, 2)

    @property
    def key(self) -> tuple[str, float]:
        """What its rows are known by."""
        return self.workload.name, self.rate_per_s


CONVERSATION = Workload("conversation", (Part("conversation", 5.7),))
CODE = Workload("code", (Part("code", 4.1),))
MIXED = Workload("mixed", (Part("mixed", 2.3),))
SHIFT = Workload("conversation, then mixed", (*CONVERSATION.parts, *MIXED.parts))
OTHER_CONVERSATION = Workload("conversation on two A6000", (Part("conversation", 3.0),), MEASURED)
OTHER_MIXED = Workload("mixed on two A6000", (Part("mixed", 1.2),), MEASURED)

SINGLE_CLASS = (CONVERSATION, CODE, OTHER_CONVERSATION)
AVERAGED = (CONVERSATION, CODE, MIXED)
"""On one hardware: what one budget would have to serve."""
LINES: Sequence[Line] = (
    *(Line(workload, times) for workload in (CONVERSATION, CODE, MIXED, SHIFT) for times in TIMES_CAPACITY),
    *(Line(workload, times) for workload in (OTHER_CONVERSATION, OTHER_MIXED) for times in (CAPACITY, OVER)),
)
