"""`python -m loadgen.benchmarks.prism`: what prism takes for its decisions and its relay, each part measured by a module of its own.

A part is a function of the options that returns its figures by name; all of them go into one report. Another one, for decisions
or for predictions, is measured in its own module and has its place in `PARTS`.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from loadgen.arguments import positive_float
from loadgen.benchmarks import prism_decisions, prism_predictions, prism_relay
from loadgen.benchmarks.written import write_report
from loadgen.commands.status import TERMINATED

Part = Callable[[argparse.Namespace], Mapping[str, Any]]


def relay(options: argparse.Namespace) -> Mapping[str, Any]:
    """Added time to first token, processor time a chunk, memory."""
    return prism_relay.measure_relay(streams=options.streams, hold_s=options.hold_s, ttft_s=options.ttft_s)._asdict()


def decisions(options: argparse.Namespace) -> Mapping[str, Any]:
    """Milliseconds a decision, and how many a core makes."""
    return msgspec.structs.asdict(uvloop.run(prism_decisions.decisions(options.decide_s)))


def predictions(options: argparse.Namespace) -> Mapping[str, Any]:
    """How far foreseen times and chances are from what came, on a real system."""
    return prism_predictions.measure_predictions(
        seconds=options.predict_s,
        warm_up_s=options.predict_warm_up_s,
        load=options.predict_load,
        time_scale=options.predict_time_scale,
    )


PARTS: Mapping[str, Part] = {"decisions": decisions, "relay": relay, "predictions": predictions}
"""In the order in which they are measured."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.benchmarks.prism", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part; all of them without it")
    parser.add_argument("--output", type=Path, default=Path("runs/bench-prism.json"), help="%(default)s")
    parser.add_argument("--decide-s", type=positive_float, default=20.0, help="of each part of decisions (%(default)s)")
    prism_relay.add_arguments(parser)
    prism_predictions.add_arguments(parser)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that no process is left behind
    report: dict[str, Any] = {}
    for name, measure in PARTS.items():
        if options.only in (None, name):
            report |= measure(options)
    write_report(report, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
