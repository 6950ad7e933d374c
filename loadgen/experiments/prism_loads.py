"""The loads of the prism experiment: workloads on four unequal engines, each at rates that are told in its capacity. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadgen.experiments.workloads import Part
from loadgen.simulate.fleet import Slow

H100, A100, TWO_A6000 = "h100-llama3.1-8b", "a100-llama3.1-8b", "2xa6000-llama3.1-8b"
ENGINES: Mapping[str, str] = {"h100": H100, "a100": A100, "a6000-1": TWO_A6000, "a6000-2": TWO_A6000}
"""Their profiles, by name."""

IDLE, LIGHT, CAPACITY, OVER = 0.5, 0.75, 1.0, 1.2
PROMPT_S, LATE_S = 0.05, 0.5
"""How late telemetry and engines' states are: as found in practice, and when it is hard."""
SLOWED, SLOWNESS = "h100", 1.5
ONE, SEVERAL = 1, 4
"""Routers."""
BY_BUDGET, BY_LENS = "static-2048", "synergy"
"""How engines batch where a capacity is looked for."""


class Workload(NamedTuple):
    """What is asked of the fleet, and what befalls it meanwhile."""

    name: str
    asks: str
    """Of `WORKLOADS`."""
    capacity_per_s: float
    """The highest rate at which the best policy that reacts, before one router, attains 90 %; found with seeds other than
    the experiment's: `--find-capacity`."""
    capacity_by: str = BY_BUDGET
    """The planner under which it does."""
    delay_s: float = PROMPT_S
    times_as_long: float = 1.0
    """For so many times as long requests arrive: where queues are to be what they come to be, and not what they begin as."""
    slows: bool = False
    """Whether the fastest engine slows in mid-run, without a word."""


class Line(NamedTuple):
    """A workload at a rate, before so many routers: a line of the page's tables."""

    workload: Workload
    times_capacity: float
    replicas: int = ONE

    @property
    def rate_per_s(self) -> float:
        """Requests a second."""
        return round(self.times_capacity * self.workload.capacity_per_s, 2)

    @property
    def name(self) -> str:
        """Of the workload, and the routers if they are several."""
        return self.workload.name if self.replicas == ONE else f"{self.workload.name}, {self.replicas} routers"

    @property
    def key(self) -> tuple[str, float]:
        """What its rows are known by."""
        return self.name, self.rate_per_s

    @property
    def part(self) -> Part:
        """What is drawn for it."""
        return Part(self.workload.asks, self.rate_per_s)

    def incidents(self, arriving_s: float) -> Sequence[Slow]:
        """What befalls the fleet.

        Args:
            arriving_s: for how long requests arrive.
        """
        return (Slow(arriving_s / 2, SLOWED, SLOWNESS),) if self.workload.slows else ()


CONVERSATION = Workload("conversation", "conversation", 22.2)
CODE = Workload("code", "code", 18.6)
MIXED = Workload("mixed", "mixed", 12.4)
HARD = Workload("hard", "three classes", 14.5, capacity_by=BY_LENS, delay_s=LATE_S, times_as_long=6.0, slows=True)
WORKLOADS: Sequence[Workload] = (CONVERSATION, CODE, MIXED, HARD)

EASY_LINES: Sequence[Line] = tuple(
    Line(workload, times) for workload in (CONVERSATION, CODE, MIXED) for times in (IDLE, CAPACITY, OVER)
)
SEVERAL_LINES: Sequence[Line] = tuple(Line(workload, OVER, SEVERAL) for workload in (CONVERSATION, CODE, MIXED))
"""Beside those of one router at that rate."""
HARD_LINES: Sequence[Line] = tuple(
    Line(HARD, times, replicas) for replicas in (ONE, SEVERAL) for times in (LIGHT, CAPACITY, OVER)
)
LINES: Sequence[Line] = (*HARD_LINES, *EASY_LINES, *SEVERAL_LINES)
REGRETTED: Sequence[Line] = (Line(HARD, CAPACITY), Line(HARD, OVER))
SMOKED: Sequence[Line] = (Line(MIXED, CAPACITY), *(Line(HARD, CAPACITY, replicas) for replicas in (ONE, SEVERAL)))
