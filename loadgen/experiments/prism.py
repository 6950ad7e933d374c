"""`python -m loadgen.experiments.prism`: what prism attains on four unequal engines, beside policies that react to load.

Virtual time; step models are learned from telemetry, from cold in every run.
"""

from functools import partial
from pathlib import Path

from loadgen.experiments.prism_loads import ENGINES, Line
from loadgen.experiments.workloads import draw_parts
from loadgen.simulate.experiment import Cell
from loadgen.simulate.hardware import hardware_by_profile
from loadgen.simulate.run import Knows, Scenario
from services.engine.profile import load_profile

OURS = "synergy"


def cell(line: Line, policy: str, traces: Path, requests: int, planner: str = OURS) -> Cell:
    """A policy at a load."""
    return Cell(
        workload=line.name,
        rate=line.rate_per_s,
        draw=partial(draw_parts, traces, (line.part,), requests),
        scenario=scenario(line, policy, requests, planner),
    )


def scenario(line: Line, policy: str, requests: int, planner: str = OURS) -> Scenario:
    """Four engines, and routers with this policy.

    Args:
        requests: of a run.
    """
    return Scenario(
        engines=ENGINES,
        hardware={name: hardware_by_profile(load_profile(name)) for name in ENGINES.values()},
        incidents=line.incidents(requests),
        planner=planner,
        policy=policy,
        replicas=line.replicas,
        knows=Knows.LEARNED,
        delay_s=line.workload.delay_s,
    )
