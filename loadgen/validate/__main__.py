"""`python -m loadgen.validate`: is the simulator right? One load on a real system and simulated, twice.

`emulated`: four emulated engines behind the real services, and the same profiles simulated. `llamacpp`: a real model; a profile
is fitted to the steps of every second block of a run, and what arrived in the others is simulated with it.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from infra.native.fleet import REAL, chosen_engines
from infra.native.system import NativeSystem, SystemFailed
from loadgen.arguments import positive_int
from loadgen.benchmarks.written import write_report
from loadgen.commands.status import FAILED, INVALID, TERMINATED
from loadgen.engines import NoSystem
from loadgen.fit_profile.profile import Limits, fit_profile
from loadgen.fit_profile.telemetry import logged_steps
from loadgen.outcome import Outcome
from loadgen.score import score
from loadgen.simulate.hardware import Hardware, hardware_by_profile
from loadgen.stored_telemetry import read_telemetry
from loadgen.validate.compare import Gap, Incomparable, Tolerance, gaps
from loadgen.validate.loads import EMULATED, LLAMACPP, Load
from loadgen.validate.systems import READY_WITHIN_S, RealRun, run_on, system_for
from loadgen.validate.twin import judged, scenario_of, simulated_run
from services.engine.profile import load_profile

PROFILES = ("h100-llama3.1-8b", "a100-llama3.1-8b", "2xa6000-llama3.1-8b", "2xa6000-llama3.1-8b")
SHARED_PROFILES = Tolerance(attainment=0.03, p50=0.10, p95=0.10)
FITTED_PROFILE = Tolerance(attainment=0.05, p50=0.10, p95=0.20)
NOISE_SEEDS = range(5)
"""Of the simulated side, so that its own chance counts for little."""

ENGINE_LIMITS = {
    "ENGINE_THREADS": 1,  # the other core is for everything else
    "ENGINE_SLOTS": 16,
    "ENGINE_KV_TOKENS": 8192,
    "ENGINE_KV_BLOCK_TOKENS": 16,
    "ENGINE_MAX_STEP_TOKENS": 512,
    "ENGINE_MAX_CONTEXT_TOKENS": 2048,
}


class Comparison(NamedTuple):
    """A real system and its twin."""

    name: str
    system: str
    requests: int
    """That were scored."""
    gaps: Sequence[Gap]
    overloads: Sequence[str]
    """Why the real runs do not count, if they do not."""

    @property
    def agrees(self) -> bool:
        """Whether every figure does."""
        return all(gap.is_within for gap in self.gaps)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, show, write; returns the exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that no fleet is left behind
    console = Console()
    try:
        comparisons = [asyncio.run(_COMPARE[name](range(options.seeds), console)) for name in options.names or _COMPARE]
    except (Incomparable, NoSystem, SystemFailed) as error:
        console.print(str(error), style="red", markup=False)
        return FAILED
    for comparison in comparisons:
        console.print(_table(comparison))
    write_report({comparison.name: _as_json(comparison) for comparison in comparisons}, options.report)
    if any(comparison.overloads for comparison in comparisons):
        console.print("the machine was overloaded: see overloads", style="red")
        return INVALID
    return 0 if all(comparison.agrees for comparison in comparisons) else FAILED


async def compare_emulated(seeds: Sequence[int], console: Console) -> Comparison:
    """Real services over emulated engines, and the same profiles simulated."""
    engines = {engine.name: hardware_by_profile(load_profile(engine.profile)) for engine in chosen_engines(PROFILES)}
    with _system(EMULATED, PROFILES, {}) as system:
        runs = [await run_on(system, EMULATED, seed, console) for seed in seeds]
    return _compared("emulated", EMULATED, runs, [engines for _ in runs], SHARED_PROFILES)


async def compare_llamacpp(seeds: Sequence[int], console: Console) -> Comparison:
    """A real model, and half of each run simulated with a profile of the steps of the other half."""
    runs: list[RealRun] = []
    fitted: list[Mapping[str, Hardware]] = []
    for seed in seeds:
        settings = {key: str(value) for key, value in ENGINE_LIMITS.items()}
        with _system(LLAMACPP, [REAL], settings) as system:
            run = await run_on(system, LLAMACPP, seed, console)
            messages = await read_telemetry(system.nats_url, REAL, partial(_is_to_fit, run.began_at_s))
        steps = [step for message in messages for step in logged_steps(message)]
        console.print(f"fitting a profile to {len(steps)} steps", highlight=False)
        profile = fit_profile(_llamacpp_limits(), [steps])
        runs.append(run)
        fitted.append({REAL: hardware_by_profile(profile)})
    return _compared("llamacpp", LLAMACPP, runs, fitted, FITTED_PROFILE)


def _is_to_fit(began_at_s: float, at_s: float) -> bool:
    return not LLAMACPP.is_judged(at_s - began_at_s)


_COMPARE = {"emulated": compare_emulated, "llamacpp": compare_llamacpp}


def _compared(
    name: str, load: Load, runs: Sequence[RealRun], fleets: Sequence[Mapping[str, Hardware]], tolerance: Tolerance
) -> Comparison:
    real: list[Outcome] = []
    simulated: list[Outcome] = []
    for run, fleet in zip(runs, fleets, strict=True):
        real += judged(load, run.report.outcomes)
        scenario = scenario_of(load, fleet)
        for noise_seed in NOISE_SEEDS:
            simulated += simulated_run(load, scenario, run.report.outcomes, noise_seed)
    overloads = [overload for run in runs for overload in run.report.overloads]
    found = gaps(score(real), score(simulated), tolerance)
    return Comparison(name, ", ".join(fleets[0]), len(real), found, overloads)


@contextlib.contextmanager
def _system(load: Load, profiles: Sequence[str], settings: Mapping[str, str]) -> Iterator[NativeSystem]:
    """A fresh system, ready, that leaves nothing behind."""
    with (
        tempfile.TemporaryDirectory() as directory,
        system_for(load, profiles, Path(directory), settings) as system,
    ):
        system.ready(READY_WITHIN_S)
        yield system


def _llamacpp_limits() -> Limits:
    block_tokens = ENGINE_LIMITS["ENGINE_KV_BLOCK_TOKENS"]
    return Limits(
        name=REAL,
        hardware_class=REAL,
        model=REAL,
        source="the other half of this run",
        max_context_tokens=ENGINE_LIMITS["ENGINE_MAX_CONTEXT_TOKENS"],
        max_step_tokens=ENGINE_LIMITS["ENGINE_MAX_STEP_TOKENS"],
        max_slots=ENGINE_LIMITS["ENGINE_SLOTS"],
        kv_block_tokens=block_tokens,
        kv_blocks_total=ENGINE_LIMITS["ENGINE_KV_TOKENS"] // block_tokens,
    )


def _as_json(comparison: Comparison) -> Mapping[str, Any]:
    found = [{**gap._asdict(), "within": gap.is_within} for gap in comparison.gaps]
    return {**comparison._asdict(), "gaps": found, "agrees": comparison.agrees}


def _table(comparison: Comparison) -> Table:
    table = Table(title=f"{comparison.name}: {comparison.requests} requests to {comparison.system}")
    table.add_column("")
    for column in ("real", "simulated", "apart", "may be"):
        table.add_column(column, justify="right")
    for gap in comparison.gaps:
        table.add_row(
            gap.figure,
            f"{gap.real:.4f}",
            f"{gap.simulated:.4f}",
            f"{100 * gap.apart:+.1f} %",
            f"{100 * gap.tolerance:.0f} %",
            style=None if gap.is_within else "red",
        )
    return table


def _known(name: str) -> str:
    if name not in _COMPARE:
        raise argparse.ArgumentTypeError(f"no comparison {name!r}; there are {', '.join(_COMPARE)}")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadgen.validate",
        description="Sends one load to a real system and to its simulated twin, and compares what clients saw.",
    )
    parser.add_argument("names", nargs="*", type=_known, metavar="NAME", help=f"{' or '.join(_COMPARE)}; both")
    parser.add_argument("--seeds", type=positive_int, default=1, metavar="N", help="real runs (%(default)s)")
    parser.add_argument("--report", type=Path, default=Path("runs/validate-simulator.json"), help="%(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())
