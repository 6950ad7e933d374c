"""`python -m loadgen.fit_profile LOG…`: a GPU profile from step logs, and how well it tells them again."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loadgen.arguments import positive_int
from loadgen.fit_profile.fit import Array
from loadgen.fit_profile.profile import Limits, fit_profile, noiseless_profile, residuals, written
from loadgen.fit_profile.telemetry import read_log
from loadgen.steplog import BadStepLog, LoggedStep

MAX_SLOTS = 256
"""Unless told; but each sequence needs a token of a step."""
LEAST_STEPS = 200
"""Of a log whose halves are compared."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, check, write; returns the exit status: 2 for logs that cannot be used, 1 where the profile cannot be written."""
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
    profile = fit_profile(limits, logs)
    early = [step for log in logs for step in log[: len(log) // 2]]
    late = [step for log in logs for step in log[len(log) // 2 :]]
    print(f"{len(steps)} steps of {len(logs)} logs, relative error of the expected time:")
    _tell("fitted to all, on all", residuals(profile, steps))
    _tell("fitted to first halves, on second", residuals(noiseless_profile(limits, early), late))
    _tell("fitted to second halves, on first", residuals(noiseless_profile(limits, late), early))
    try:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(written(profile))
    except OSError as error:
        print(f"cannot be written: {error}", file=sys.stderr)
        return 1
    print(f"Written to {options.output}; ENGINE_EXECUTOR=emulated ENGINE_PROFILE={options.output} runs by it.")
    return 0


def _tell(what: str, errors: Array) -> None:
    median, p90 = np.percentile(np.abs(errors), [50, 90])
    print(f"  {what:<34} median {median:6.2%}   p90 {p90:6.2%}")


def _limits(options: argparse.Namespace, steps: Sequence[LoggedStep]) -> Limits:
    kv_tokens = options.kv_tokens or int(max(step.shape.kv_tokens + step.shape.num_tokens for step in steps))
    max_step_tokens = options.max_step_tokens or int(max(step.shape.num_tokens for step in steps))
    return Limits(
        name=options.name,
        hardware_class=options.hardware_class or options.name,
        model=options.model or options.name,
        source=options.source or f"fitted to {', '.join(path.name for path in options.logs)}",
        max_context_tokens=options.max_context_tokens,
        max_step_tokens=max_step_tokens,
        max_slots=options.max_slots or min(MAX_SLOTS, max_step_tokens),
        kv_block_tokens=options.kv_block_tokens,
        kv_blocks_total=max(1, kv_tokens // options.kv_block_tokens),
    )


def _json_file(text: str) -> Path:
    """A profile is known from others' names by its suffix."""
    if (path := Path(text)).suffix != ".json":
        raise argparse.ArgumentTypeError(f"must be a .json file: {text!r}")
    return path


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
    parser.add_argument("--output", type=_json_file, required=True, help="the .json file to write")
    parser.add_argument("--hardware-class", help="engines of one class are alike; by default the name")
    parser.add_argument("--model", help="the model that the engine says it serves; by default the name")
    parser.add_argument("--source", help="where the logs come from; by default their names")
    parser.add_argument(
        "--kv-tokens", type=positive_int, help="tokens that the KV cache holds; by default the most seen"
    )
    parser.add_argument("--kv-block-tokens", type=positive_int, default=16, help="%(default)s")
    parser.add_argument("--max-context-tokens", type=positive_int, default=32768, help="of one sequence (%(default)s)")
    parser.add_argument("--max-step-tokens", type=positive_int, help="of one step; by default the most seen")
    parser.add_argument(
        "--max-slots", type=positive_int, help=f"sequences at once ({MAX_SLOTS}, or the tokens of a step)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
