"""`python -m loadgen run`: put an open-loop load on a running system, measure it, and report."""

import argparse
import asyncio
import math
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import aiohttp
import msgspec
import numpy as np
from rich.console import Console

from loadgen.arrivals import poisson_arrivals
from loadgen.client import Client
from loadgen.engines import Engine, NoSystem, engine_problems, read_engines, read_model
from loadgen.open_loop import send_all
from loadgen.outcome import Outcome
from loadgen.progress import Progress
from loadgen.report import Report, Settings, make_report, show
from loadgen.workload import Request, draw_requests

LEARNED_WITHIN_S = 10.0
"""The last steps' telemetry is learned, and its forecast written, by then."""
LOOK_AGAIN_S = 0.25
PLAIN_COLUMNS = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    options = _parser().parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console.width = PLAIN_COLUMNS
    try:
        report = asyncio.run(run(options, console))
    except NoSystem as error:
        console.print(str(error), style="red", markup=False)
        return 1
    show(report, console)
    if options.report is not None:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return 1 if report.problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadgen", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="Poisson arrivals of real prompts in two SLO classes",
        description="Sends requests at Poisson arrivals, whether or not earlier ones are answered. Prompts are real "
        "English, short and long, in the SLO classes 'interactive' and 'batch'. Exits with 0 only if every request "
        "ended well.",
    )
    run.add_argument("--url", default="http://127.0.0.1:8000", help="the router (%(default)s)")
    run.add_argument("--model", help="by default the first that the router serves")
    run.add_argument("--rate", type=positive_float, default=1.0, help="mean requests a second (%(default)s)")
    run.add_argument("--requests", type=positive_int, default=60, help="how many to send (%(default)s)")
    run.add_argument("--seed", type=int, default=0, help="of arrivals, prompts and output limits (%(default)s)")
    run.add_argument("--timeout", type=positive_float, default=120.0, help="seconds for an answer (%(default)s)")
    run.add_argument("--report", type=Path, help="where to write the report as JSON")
    run.add_argument(
        "--require-engines",
        type=int,
        default=0,
        metavar="N",
        help="fail unless N engines have served requests of this run and their step models have been learned",
    )
    return parser


def positive_int(text: str) -> int:
    return int(positive_float(str(int(text))))


def positive_float(text: str) -> float:
    if not 0 < (number := float(text)) < math.inf:
        raise ValueError(text)
    return number


async def run(options: argparse.Namespace, console: Console) -> Report:
    """Send the load and judge it.

    Raises:
        NoSystem: the router does not answer before the load.
    """
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        model = options.model or await read_model(session, options.url)
        settings = Settings(
            url=options.url,
            model=model,
            rate_per_s=options.rate,
            requests=options.requests,
            seed=options.seed,
            timeout_s=options.timeout,
        )
        outcomes, duration_s = await _send_load(session, settings, console)
        served = {outcome.engine for outcome in outcomes if outcome.engine is not None and outcome.problem is None}
        try:
            engines = await _read_learned_engines(session, options.url, served, options.require_engines)
            problems = engine_problems(engines, served, options.require_engines)
        except NoSystem as error:
            engines, problems = (), [str(error)]
    return make_report(settings, outcomes, engines, problems, duration_s)


async def _send_load(
    session: aiohttp.ClientSession, settings: Settings, console: Console
) -> tuple[list[Outcome], float]:
    requests = _draw_load(settings)
    console.print(
        f"Sending {len(requests)} requests to {settings.model} at {settings.url} over {requests[-1].arrival_s:.0f} s.",
        markup=False,
        highlight=False,
    )
    started_at_s = time.monotonic()
    client = Client(session, settings.url, settings.model, started_at_s=started_at_s, timeout_s=settings.timeout_s)
    with Progress(console, len(requests)) as progress:
        outcomes = await send_all(requests, client.send, progress.ended, started_at_s=started_at_s)
    return outcomes, time.monotonic() - started_at_s


def _draw_load(settings: Settings) -> tuple[Request, ...]:
    arrivals_rng, workload_rng = np.random.default_rng(settings.seed).spawn(2)
    return draw_requests(poisson_arrivals(settings.rate_per_s, settings.requests, arrivals_rng), workload_rng)


async def _read_learned_engines(
    session: aiohttp.ClientSession, url: str, served: Collection[str], required: int
) -> tuple[Engine, ...]:
    """The engines once enough of them count as learned, or as they are when the time for that is up."""
    gives_up_at_s = time.monotonic() + LEARNED_WITHIN_S
    while True:
        engines = await read_engines(session, url)
        if not engine_problems(engines, served, required) or time.monotonic() > gives_up_at_s:
            return engines
        await asyncio.sleep(LOOK_AGAIN_S)


if __name__ == "__main__":
    sys.exit(main())
