"""Loads on a real native system: what its clients saw, and what its engines told of their steps."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import nats
from rich.console import Console

from infra.native.ports import HOST, free_ports
from infra.native.system import NativeSystem
from loadgen.client import open_session
from loadgen.engines import read_model
from loadgen.fit_profile.telemetry import logged_steps
from loadgen.live import run_once
from loadgen.report import Report
from loadgen.steplog import LoggedStep
from loadgen.validate.loads import Load
from shared.names import TELEMETRY_STREAM
from shared.telemetry import Telemetry
from shared.wire import decode

READY_WITHIN_S = 120.0
ANSWERS_WITHIN_S = 10.0


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


async def read_steps(system: NativeSystem, engine: str, wanted: Callable[[float], bool]) -> Sequence[LoggedStep]:
    """An engine's steps, in their order.

    Args:
        wanted: whether to keep those whose telemetry came to the broker at this time, by the wall clock.

    Raises:
        nats.errors.Error: the broker has none, or does not answer.
    """
    connection = await nats.connect(f"nats://{HOST}:{system.ports.nats_port}")
    try:
        subscription = await connection.jetstream().subscribe(
            f"synergy.v1.telemetry.*.{engine}", stream=TELEMETRY_STREAM, ordered_consumer=True
        )
        steps: list[LoggedStep] = []
        while True:
            message = await subscription.next_msg(ANSWERS_WITHIN_S)
            if wanted(message.metadata.timestamp.timestamp()):
                steps += logged_steps(decode(message.data, Telemetry))
            if message.metadata.num_pending == 0:
                return steps
    finally:
        await connection.close()
