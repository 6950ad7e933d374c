"""What the experiment with real processes compares: two kinds of fleets, and on each five ways of batching and routing. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from infra.native.fleet import REAL
from loadgen.experiments import live_loads
from loadgen.experiments.live_loads import LiveLoad
from loadgen.experiments.tables import OURS

BOTH, ROUTER_ONLY, ENGINE_ONLY, NEITHER, REACTIVE = (
    "both layers",
    "router only",
    "engine only",
    "neither",
    "reactive router",
)
EMULATED = "emulated"
IN_TURN = "round-robin"
"""The router that knows nothing."""
CAPACITY, OVER = 1.0, 1.2
TIMES_CAPACITY = (CAPACITY, OVER)


class System(NamedTuple):
    """One of those that are compared."""

    name: str
    planner: str
    """What its lenses batch by."""
    policy: str
    """What its router picks by."""


class Part(NamedTuple):
    """One kind of fleet, and what is asked of it."""

    name: str
    profiles: Sequence[str]
    """Of the emulated engines; none: the two unequal engines with a model that `make demo` has."""
    load: LiveLoad
    fixed: str
    """The planner with a fixed budget."""
    reactive: str
    """A policy that reacts to load, of those the best one under lens in the simulator."""
    rates_per_s: Sequence[float]
    """Among which the capacity is looked for, ascending; at the first of them everybody learns."""
    capacity_per_s: float | None = None
    """None: to be measured."""
    settings: Mapping[str, str] = MappingProxyType({})

    @property
    def is_emulated(self) -> bool:
        """Whether its engines compute nothing."""
        return bool(self.profiles)

    @property
    def systems(self) -> Sequence[System]:
        """All that are compared."""
        return (
            System(BOTH, OURS, OURS),
            System(ROUTER_ONLY, self.fixed, OURS),
            System(ENGINE_ONLY, OURS, IN_TURN),
            System(NEITHER, self.fixed, IN_TURN),
            System(REACTIVE, OURS, self.reactive),
        )


PARTS = (
    Part(
        name=EMULATED,
        profiles=("h100-llama3.1-8b", "a100-llama3.1-8b", "2xa6000-llama3.1-8b"),
        load=live_loads.FLEET,
        fixed="static-2048",
        reactive="published",
        rates_per_s=(8.0, 12.0, 16.0, 22.0, 27.0),
        # In the simulator, with other seeds, where that policy attains 90 % in runs as long as these.
        capacity_per_s=22.0,
    ),
    Part(
        name=REAL,
        profiles=(),
        load=live_loads.LLAMACPP._replace(duration_s=10.0),
        # Among the best of 16 to 512 on one such engine.
        fixed="static-64",
        # In the simulator's hard case: no profile stands for these engines.
        reactive="weighted-least-tokens",
        rates_per_s=(1.0, 1.4, 2.0, 2.8),
    ),
)
