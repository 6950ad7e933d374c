"""`python -m infra.native up` runs the system until Ctrl-C; `demo` starts it, puts load on it, reports, and stops it."""

import argparse
import math
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from infra.native.fleet import REAL
from infra.native.ports import Ports, free_ports
from infra.native.system import ENGINES, ROOT, NativeSystem, RunInUse, SystemFailed
from services.engine.profile import BadProfile, UnknownProfile, known_profiles, load_profile
from shared.settings import load

RUNS = ROOT / "runs"
MODEL = "SmolLM2-135M-Instruct"
READY_WITHIN_S = 120.0
LOOK_AGAIN_S = 1.0
INTERRUPTED = 130
SAME_SIGNAL_S = 1.0

DEMO_LOAD = ("--rate", "0.7", "--requests", "50", "--seed", "1")
"""What two small engines that share two cores can just carry."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    options = _parser().parse_args(arguments)
    interrupt = Interrupt()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        status: int = options.run(options)
    except (RunInUse, SystemFailed) as error:
        print(error, file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.native", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="run the system in the foreground until Ctrl-C; what it learned is kept")
    up.add_argument("--run-dir", type=Path, default=RUNS / "up", help="where data and logs go (%(default)s)")
    up.add_argument("--free-ports", action="store_true", help="take free ports, not those of SYNERGY_…_PORT")
    up.add_argument(
        "--engines",
        type=_profiles,
        default=(),
        metavar="PROFILE,…",
        help="these engines instead of the two unequal ones, on free ports: emulated ones by profile, "
        f"{', '.join(known_profiles())}, or a .json file, and {REAL} for the real model; repeat one for more of it",
    )
    up.set_defaults(run=run_up)
    demo = commands.add_parser("demo", help="a fresh system on free ports, a minute of load, a report")
    demo.add_argument("--run-dir", type=Path, default=RUNS / "demo", help="emptied first (%(default)s)")
    demo.set_defaults(run=run_demo)
    return parser


def _profiles(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    try:
        for name in names:
            if name != REAL:
                load_profile(name)
    except (UnknownProfile, BadProfile) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return tuple(str(Path(name).absolute()) if name.endswith(".json") else name for name in names)


def run_up(options: argparse.Namespace) -> int:
    """Until Ctrl-C; fails where a program keeps dying."""
    ports = free_ports() if options.free_ports else load(Ports)
    system = NativeSystem(options.run_dir, ports, profiles=options.engines)
    try:
        with system:
            _start(system)
            print(_directions(system, _model(options.engines)), flush=True)
            while True:
                system.check_alive()
                time.sleep(LOOK_AGAIN_S)
    except KeyboardInterrupt:
        print("Stopped.")
        return 0


def run_demo(options: argparse.Namespace) -> int:
    """The load generator's exit status."""
    system = NativeSystem(options.run_dir, free_ports(), fresh=True)
    report = system.run_dir / "report.json"
    required = ("--require-engines", str(len(ENGINES)))
    load_command = [sys.executable, "-m", "loadgen", "run", "--url", system.url, "--report", str(report)]
    try:
        with system:
            _start(system)
            command = [*load_command, *DEMO_LOAD, *required]
            status = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603 - a fixed command
            print("Stopping.", flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    print(f"Report: {report}\nLogs:   {system.logs_dir}")
    return status


def _start(system: NativeSystem) -> None:
    print(
        f"Starting NATS, Redis, {len(system.engines)} engines, the forecaster and the router; logs: {system.logs_dir}",
        flush=True,
    )
    began_at_s = time.monotonic()
    system.ready(READY_WITHIN_S)
    print(f"Ready after {time.monotonic() - began_at_s:.0f} s.", flush=True)


def _model(profiles: Sequence[str]) -> str:
    return load_profile(profiles[0]).model if profiles and profiles[0] != REAL else MODEL


def _directions(system: NativeSystem, model: str) -> str:
    question = '[{"role": "user", "content": "Why is the sky blue?"}]'
    body = f'{{"model": "{model}", "messages": {question}, "max_tokens": 80, "stream": true}}'
    redis_cli = Path(sys.executable).parent / "redis-cli"
    return f"""
SynergySched is at {system.url} with engines {", ".join(sorted(system.engines))}. Try:

  curl -sN {system.url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'
  curl -s {system.url}/v1/engines
  {redis_cli} -p {system.ports.redis_port} get synergy:v1:forecast:{min(system.engines)}

Logs: {system.logs_dir}
Ctrl-C stops everything in order."""


class Interrupt:
    """Makes a signal a KeyboardInterrupt. A second one soon after the first is the same, sent twice, as `timeout` does."""

    def __init__(self) -> None:
        self._last_at_s = -math.inf

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        last_at_s, self._last_at_s = self._last_at_s, time.monotonic()
        if self._last_at_s - last_at_s > SAME_SIGNAL_S:
            raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
