"""The real systems of the experiment on this machine: a fleet for each way of batching, and before it a router for each policy."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from infra.native.ports import free_ports
from infra.native.system import NativeSystem
from loadgen.experiments.real_parts import Part, System
from services.lens.settings import LensSettings

READY_WITHIN_S = 240.0


class Address(NamedTuple):
    """Where a system is."""

    router_url: str
    lens_url: str
    """Of one of its engines, always the same one."""


@contextmanager
def started(part: Part, systems: Sequence[System]) -> Iterator[Mapping[System, Address]]:
    """Fresh fleets, ready, with all these systems; they leave nothing behind.

    Raises:
        SystemFailed: one did not become ready.
    """
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        fleets = {
            planner: running.enter_context(
                _fleet(part, planner, _policies(systems, planner), Path(directory) / planner)
            )
            for planner in dict.fromkeys(system.planner for system in systems)
        }
        for fleet in fleets.values():
            fleet.ready(READY_WITHIN_S)
        yield {system: _address(fleets[system.planner], system, systems) for system in systems}


def _fleet(part: Part, planner: str, policies: Sequence[str], run_dir: Path) -> NativeSystem:
    scale = part.load.time_scale
    step_target_ms = scale * LensSettings.model_fields["step_target_ms"].default
    first, *others = policies
    return NativeSystem(
        run_dir,
        free_ports(),
        profiles=part.profiles,
        settings={
            "ENGINE_TIME_SCALE": str(scale),
            "LENS_STEP_TARGET_MS": str(step_target_ms),
            "LENS_PLANNER": planner,
            "PRISM_POLICY": first,
            **part.settings,
        },
        routers={policy: {"PRISM_POLICY": policy} for policy in others},
    )


def _policies(systems: Sequence[System], planner: str) -> Sequence[str]:
    return [system.policy for system in systems if system.planner == planner]


def _address(fleet: NativeSystem, system: System, systems: Sequence[System]) -> Address:
    is_first = system.policy == _policies(systems, system.planner)[0]
    router_url = fleet.url if is_first else fleet.router_url(system.policy)
    return Address(router_url, fleet.urls[f"lens-{min(fleet.engines)}"])
