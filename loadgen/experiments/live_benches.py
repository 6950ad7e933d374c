"""The real systems of the live experiment: an engine and lens for each planner that is compared."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from infra.native.fleet import REAL, chosen_engines
from infra.native.ports import free_ports
from infra.native.system import NativeSystem
from loadgen.experiments import live_loads
from loadgen.experiments.live_loads import LiveLoad
from loadgen.experiments.live_runs import LensUnderTest
from loadgen.experiments.tables import OURS, PLAIN, RELEGATING

READY_WITHIN_S = 180.0


class Bench(NamedTuple):
    """What is compared on one kind of engine."""

    name: str
    profile: str
    load: LiveLoad
    budgets: Sequence[int]
    """The best fixed ones: what is there to beat."""
    rates_per_s: Sequence[float]
    """Among which its capacity is looked for, ascending."""
    capacity_per_s: float | None
    """None: to be measured."""
    settings: Mapping[str, str]
    kinds: Sequence[str] = (PLAIN, RELEGATING)
    """Of each budget."""

    @property
    def is_emulated(self) -> bool:
        """Whether it computes nothing."""
        return self.profile != REAL

    @property
    def fixed(self) -> Sequence[str]:
        """The planners among which the best one's capacity is the engine's."""
        return [f"static-{budget}{PLAIN}" for budget in self.budgets]

    @property
    def planners(self) -> Sequence[str]:
        """All that are compared."""
        return [OURS, *(f"static-{budget}{kind}" for kind in self.kinds for budget in self.budgets)]


BENCHES = (
    Bench(
        name="emulated",
        profile="h100-qwq-32b",
        load=live_loads.EMULATED,
        # In the simulator, with the profile and other seeds, the best of 256 to 8192, and the rate at which they attain 90 %.
        budgets=(2048, 8192),
        rates_per_s=(1.2, 1.35, 1.5, 1.7, 1.9),
        capacity_per_s=1.5,
        settings={},
    ),
    Bench(
        name=REAL,
        profile=REAL,
        load=live_loads.LLAMACPP,
        # The best of 16 to 512 on loads of other seeds: small ones keep answers going, and cost this engine nothing.
        budgets=(16, 64),
        rates_per_s=(0.8, 1.0, 1.25, 1.55, 1.9, 2.4),
        capacity_per_s=None,
        settings={
            "ENGINE_THREADS": "1",  # the other core is for everything else
            "ENGINE_SLOTS": "16",
            "ENGINE_KV_TOKENS": "8192",
            "ENGINE_MAX_STEP_TOKENS": "512",
        },
    ),
)


class BenchSystem(NamedTuple):
    """A system that is ready."""

    router_url: str
    lenses: Sequence[LensUnderTest]


@contextmanager
def started(bench: Bench) -> Iterator[BenchSystem]:
    """A fresh system with an engine and a lens a planner; it leaves nothing behind.

    Raises:
        SystemFailed: it did not become ready.
    """
    profiles = [bench.profile] * len(bench.planners)
    planner_of = dict(zip((engine.name for engine in chosen_engines(profiles)), bench.planners, strict=True))
    with tempfile.TemporaryDirectory() as directory:
        system = NativeSystem(
            Path(directory),
            free_ports(),
            profiles=profiles,
            settings={"ENGINE_TIME_SCALE": str(bench.load.time_scale), **bench.settings},
            lens_settings={engine: {"LENS_PLANNER": planner} for engine, planner in planner_of.items()},
        )
        with system:
            system.ready(READY_WITHIN_S)
            lenses = [
                LensUnderTest(planner, engine, system.urls[f"lens-{engine}"]) for engine, planner in planner_of.items()
            ]
            yield BenchSystem(system.url, lenses)
