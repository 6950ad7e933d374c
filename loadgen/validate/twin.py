"""The simulated twin of a real run: the same requests, engines that are as fast, the same planner and router. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from loadgen.outcome import Outcome
from loadgen.simulate.fleet import Slow
from loadgen.simulate.hardware import Hardware
from loadgen.simulate.run import Scenario, simulate
from loadgen.synthetic import BYTES_PER_TOKEN, Synthetic
from loadgen.validate.loads import Load
from loadgen.workload import Request

NEWS_DELAY_S = 0.05
"""Telemetry, and what lens announces, take about so long through NATS, forecaster and Redis."""


def scenario_of(load: Load, engines: Mapping[str, Hardware]) -> Scenario:
    """The fleet, each engine by its name, as slow as the load is stretched."""
    return Scenario(
        engines={name: name for name in engines},
        hardware=engines,
        incidents=tuple(Slow(0.0, name, load.time_scale) for name in engines),
        delay_s=NEWS_DELAY_S,
        target_s=load.time_scale * load.step_target_s,
        text_bytes_per_token=BYTES_PER_TOKEN,
    )


def simulated_run(load: Load, scenario: Scenario, real: Sequence[Outcome], seed: int) -> Sequence[Outcome]:
    """What would have become of the requests of a real run; of those that are judged.

    Args:
        load: what the real run was asked.
        scenario: the system.
        real: what became of all its requests; prompts are as long as the server counted them.
        seed: of the engines' noise and the router's draws.
    """
    return judged(load, simulate(scenario, map(_as_counted, real), seed).outcomes)


def judged(load: Load, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """Those that are compared."""
    return [outcome for outcome in outcomes if load.is_judged(outcome.request.arrival_s)]


def _as_counted(outcome: Outcome) -> Request:
    if outcome.prompt_tokens is None:
        return outcome.request
    return msgspec.structs.replace(outcome.request, prompt=Synthetic(tokens=outcome.prompt_tokens))
