"""`python -m loadgen.fit_profile LOG…`: a GPU profile from step logs, and how well it tells them again."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from loadgen.fit_profile.fit import Array, Costs, Noise, fit_costs, noise_of
from loadgen.fit_profile.telemetry import read_log
from loadgen.steplog import BadStepLog, LoggedStep
from services.engine.emulation import StepTimes
from services.engine.profile import Profile

LEAST_STEPS = 200
"""Of a log whose halves are compared."""


class Limits(NamedTuple):
    """The part of a profile that steps do not tell."""

    name: str
    hardware_class: str
    model: str
    source: str
    max_context_tokens: int
    max_step_tokens: int
    max_slots: int
    kv_block_tokens: int
    kv_blocks_total: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, check, write; returns the exit status, 2 for logs that cannot be used."""
    options = _parser().parse_args(arguments)
    try:
        logs = [read_log(path) for path in options.logs]
    except BadStepLog as error:
        print(error, file=sys.stderr)
        return 2
    if short := [path for path, log in zip(options.logs, logs, strict=True) if len(log) < LEAST_STEPS]:
        print(f"{short[0]}: too few steps; a log needs {LEAST_STEPS}", file=sys.stderr)
        return 2
    steps = [step for log in logs for step in log]
    limits = _limits(options, steps)
    profile = _fit(limits, logs)
    early = [step for log in logs for step in log[: len(log) // 2]]
    late = [step for log in logs for step in log[len(log) // 2 :]]
    print(f"{len(steps)} steps of {len(logs)} logs, relative error of the expected time:")
    _tell("fitted to all, on all", _residuals(profile, steps))
    _tell("fitted to first halves, on second", _residuals(_noiseless(limits, early), late))
    _tell("fitted to second halves, on first", _residuals(_noiseless(limits, late), early))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(_written(profile))
    print(f"Written to {options.output}; ENGINE_EXECUTOR=emulated ENGINE_PROFILE={options.output} runs by it.")
    return 0


def _fit(limits: Limits, logs: Sequence[Sequence[LoggedStep]]) -> Profile:
    """Costs fitted to all logs, and noise about each log's own fit: what one form cannot say of all is not noise."""
    steps = [step for log in logs for step in log]
    residuals = np.concatenate([_residuals(_noiseless(limits, log), log) for log in logs])
    return _profile(limits, fit_costs(steps), noise_of(steps, residuals))


def _noiseless(limits: Limits, steps: Sequence[LoggedStep]) -> Profile:
    silence = Noise(residuals=(0.0,), block_steps=1, stall_share=0.0, stall_ms=0.0)
    return _profile(limits, fit_costs(steps), silence)


def _profile(limits: Limits, costs: Costs, noise: Noise) -> Profile:
    return Profile(**limits._asdict(), **costs._asdict(), **noise._asdict(), residuals_source=limits.source)


def _residuals(profile: Profile, steps: Sequence[LoggedStep]) -> Array:
    """Actual ÷ expected − 1 of each step."""
    times = StepTimes(profile, seed=0)
    return np.array([step.duration_s / times.expected_s(step.shape) - 1.0 for step in steps])


def _written(profile: Profile) -> str:
    """As JSON, a field a line: tables and residuals would else take a line a number."""
    fields = msgspec.to_builtins(profile).items()
    return "{\n" + ",\n".join(f'"{field}": {msgspec.json.encode(value).decode()}' for field, value in fields) + "\n}\n"


def _tell(what: str, residuals: Array) -> None:
    median, p90 = np.percentile(np.abs(residuals), [50, 90])
    print(f"  {what:<34} median {median:6.2%}   p90 {p90:6.2%}")


def _limits(options: argparse.Namespace, steps: Sequence[LoggedStep]) -> Limits:
    kv_tokens = options.kv_tokens or int(max(step.shape.kv_tokens + step.shape.num_tokens for step in steps))
    return Limits(
        name=options.name,
        hardware_class=options.hardware_class or options.name,
        model=options.model or options.name,
        source=options.source or f"fitted to {', '.join(path.name for path in options.logs)}",
        max_context_tokens=options.max_context_tokens,
        max_step_tokens=options.max_step_tokens or int(max(step.shape.num_tokens for step in steps)),
        max_slots=options.max_slots,
        kv_block_tokens=options.kv_block_tokens,
        kv_blocks_total=max(1, kv_tokens // options.kv_block_tokens),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadgen.fit_profile",
        description="Fits a profile of the emulated engine to logged steps, best with several token budgets among them, and"
        " says how well each half of the logs is foreseen from the other.",
    )
    parser.add_argument(
        "logs", type=Path, nargs="+", metavar="LOG", help="JSON lines: an engine step each, or a telemetry message each"
    )
    parser.add_argument("--name", required=True, help="of the profile, such as h100-llama3.1-8b")
    parser.add_argument("--output", type=Path, required=True, help="the .json file to write")
    parser.add_argument("--hardware-class", help="engines of one class are alike; by default the name")
    parser.add_argument("--model", help="the model that the engine says it serves; by default the name")
    parser.add_argument("--source", help="where the logs come from; by default their names")
    parser.add_argument("--kv-tokens", type=_count, help="tokens that the KV cache holds; by default the most seen")
    parser.add_argument("--kv-block-tokens", type=_count, default=16, help="%(default)s")
    parser.add_argument("--max-context-tokens", type=_count, default=32768, help="of one sequence (%(default)s)")
    parser.add_argument("--max-step-tokens", type=_count, help="of one step; by default the most seen")
    parser.add_argument("--max-slots", type=_count, default=256, help="sequences at once (%(default)s)")
    return parser


def _count(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
