"""`python -m loadgen.benchmarks.simulator`: how fast the fleet simulator is, and what a thousand engines take.

First one engine that always has so many sequences in it, then a large fleet that learns, announces and routes for two
minutes of virtual time.
"""

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
from rich.console import Console

from loadgen.benchmarks.written import write_report
from loadgen.load import Settings, draw_load
from loadgen.simulate.experiment import Cell, run_watched
from loadgen.simulate.hardware import MODEL, hardware_by_profile
from loadgen.simulate.run import Scenario, simulate
from loadgen.synthetic import Synthetic
from loadgen.traces import TraceRequest, read_trace
from loadgen.workload import Request
from services.engine.profile import load_profile
from shared.slo import Slo

PROFILES = ("h100-llama3.1-8b", "a100-llama3.1-8b", "2xa6000-llama3.1-8b", "h100-qwq-32b")
PROMPT_TOKENS, OUTPUT_TOKENS = 1024, 256
"""As in conversations."""
GAP_S = 0.1
"""Between arrivals: a little less than the engine needs for a request, so that it stays full and the queue short."""
ROUNDS = 3
BYTES_PER_KIB = 1024
REPORT = Path("runs/bench-simulator.json")


def full_engine(sequences: int, requests: int) -> tuple[float, float]:
    """Steps a second of this process, and the sequences that were in a step on average."""
    profile = msgspec.structs.replace(load_profile(PROFILES[0]), max_slots=sequences)
    scenario = Scenario(
        engines={"engine": "full"}, hardware={"full": hardware_by_profile(profile)}, max_waiting=requests, delay_s=0.05
    )
    load = [
        Request(arrival_s=number * GAP_S, prompt=Synthetic(tokens=PROMPT_TOKENS), max_tokens=OUTPUT_TOKENS, slo=Slo())
        for number in range(requests)
    ]
    began_s = time.perf_counter()
    run = simulate(scenario, load, seed=0)
    elapsed_s = time.perf_counter() - began_s
    return run.steps / elapsed_s, requests * OUTPUT_TOKENS / run.steps


def fleet_cell(options: argparse.Namespace) -> Cell:
    """A large fleet of all profiles."""
    profiles = {name: hardware_by_profile(load_profile(name)) for name in PROFILES}
    engines = {f"engine-{number:04}": PROFILES[number % len(PROFILES)] for number in range(options.engines)}
    settings = Settings(
        url="",
        model=MODEL,
        requests=round(options.rate * options.duration),
        seed=0,
        timeout_s=0.0,
        rate_per_s=options.rate,
        trace=None if options.trace is None else options.trace.name,
        ignore_eos=options.trace is not None,
    )
    trace = () if options.trace is None else read_trace(options.trace)
    return Cell(
        workload="benchmark",
        rate=options.rate,
        draw=partial(_drawn, settings, trace),
        scenario=Scenario(engines=engines, hardware=profiles, replicas=4, delay_s=0.05),
    )


def _drawn(settings: Settings, trace: Sequence[TraceRequest], seed: int) -> Sequence[Request]:
    return draw_load(msgspec.structs.replace(settings, seed=seed), trace)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.benchmarks.simulator", description=__doc__)
    parser.add_argument("--sequences", type=int, default=32, help="a step (%(default)s)")
    parser.add_argument("--requests", type=int, default=1000, help="of the full engine (%(default)s)")
    parser.add_argument("--engines", type=int, default=1000, help="of the fleet (%(default)s)")
    parser.add_argument("--duration", type=float, default=120.0, help="s of the fleet's load (%(default)s)")
    parser.add_argument("--rate", type=float, default=100.0, help="requests/s of the fleet's load (%(default)s)")
    parser.add_argument("--trace", type=Path, help="lengths of the fleet's requests; else short prompts and answers")
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args(arguments)
    console = Console()
    rounds = [full_engine(options.sequences, options.requests) for _ in range(ROUNDS)]
    began_s = time.perf_counter()
    of_fleet = run_watched(fleet_cell(options), 0, console)
    elapsed_s = time.perf_counter() - began_s
    report = {
        "steps_per_s": round(sorted(rate for rate, _ in rounds)[ROUNDS // 2]),
        "steps_per_s_rounds": [round(rate) for rate, _ in rounds],
        "sequences_a_step": round(rounds[0][1], 1),
        "engines": options.engines,
        "fleet_requests": of_fleet.total.offered,
        "fleet_simulated_s": round(of_fleet.duration_s, 1),
        "fleet_steps": of_fleet.steps,
        "fleet_elapsed_s": round(elapsed_s, 1),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / BYTES_PER_KIB),
    }
    write_report(report, options.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
