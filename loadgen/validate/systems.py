"""Loads on a real native system, and what its clients saw."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from infra.native.ports import free_ports
from infra.native.system import NativeSystem
from loadgen.client import open_session
from loadgen.engines import read_model
from loadgen.live import run_once
from loadgen.report import Report
from loadgen.validate.loads import Load

READY_WITHIN_S = 120.0


class RealRun(NamedTuple):
    """One load."""

    began_at_s: float
    """By the wall clock."""
    report: Report


def system_for(load: Load, profiles: Sequence[str], run_dir: Path, settings: Mapping[str, str]) -> NativeSystem:
    """A fresh system of these engines, as slow as the load is stretched."""
    stretched = {
        "ENGINE_TIME_SCALE": str(load.time_scale),
        "LENS_STEP_TARGET_MS": str(load.time_scale * load.step_target_s * 1e3),
    }
    return NativeSystem(run_dir, free_ports(), fresh=True, profiles=profiles, settings={**stretched, **settings})


async def run_on(system: NativeSystem, load: Load, seed: int, console: Console) -> RealRun:
    """Send the load to a system that is ready.

    Raises:
        NoSystem: it does not answer.
    """
    async with open_session() as session:
        settings = load.settings(system.url, await read_model(session, system.url), seed)
        began_at_s = time.time()
        return RealRun(began_at_s, await run_once(session, settings, load.lengths(seed), console))
