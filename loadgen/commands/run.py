"""`python -m loadgen run`: put a load on a running system, measure it, and report."""

import argparse
import asyncio
import os
from collections.abc import Sequence

import msgspec
from rich.console import Console

from loadgen.arguments import positive_int, whole
from loadgen.client import open_session
from loadgen.commands.files import Files, add_file_options, writable_files, write_json
from loadgen.commands.status import exit_status
from loadgen.engines import read_model
from loadgen.live import run_once
from loadgen.options import API_KEY, add_load_options, load_settings, load_trace
from loadgen.repeats import make_repeats
from loadgen.report import Report
from loadgen.rows import write_rows
from loadgen.tables import repeats_table, show, show_problems


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Make the command known."""
    parser = commands.add_parser(
        "run",
        help="requests at Poisson or other arrivals, of real prompts or a trace, in SLO classes",
        description="Sends requests when they arrive, whether or not earlier ones are answered. Unless told otherwise, "
        "prompts are real English, short and long, in the SLO classes 'interactive' and 'batch'. Exits with 0 only if "
        "every request ended well; with 3 if this machine was too busy for the figures to count.",
    )
    add_load_options(parser)
    parser.add_argument("--repeats", type=positive_int, default=1, help="runs, each with the next seed (%(default)s)")
    parser.add_argument(
        "--require-engines",
        type=whole,
        default=0,
        metavar="N",
        help="fail unless N engines have served requests of this run and their step models have been learned",
    )
    add_file_options(parser)
    parser.set_defaults(command=run)


def run(options: argparse.Namespace, console: Console) -> int:
    """Run, show, write; returns the exit status."""
    to = writable_files(options)
    reports = asyncio.run(_run_all(options, console))
    if len(reports) > 1:
        console.print(repeats_table(make_repeats(reports)))
    _write(reports, to)
    return exit_status(reports)


async def _run_all(options: argparse.Namespace, console: Console) -> Sequence[Report]:
    trace = load_trace(options)
    reports = []
    async with open_session(os.environ.get(API_KEY)) as session:
        settings = load_settings(options, options.model or await read_model(session, options.url))
        for seed in range(settings.seed, settings.seed + options.repeats):
            seeded = msgspec.structs.replace(settings, seed=seed)
            report = await run_once(session, seeded, trace, console, options.require_engines)
            show(report, console) if options.repeats == 1 else show_problems(report, console)
            reports.append(report)
    return reports


def _write(reports: Sequence[Report], to: Files) -> None:
    if to.json is not None:
        write_json(reports[0] if len(reports) == 1 else make_repeats(reports), to.json)
    if to.csv is not None:
        write_rows(reports, to.csv)
    if to.html is not None:
        from loadgen.page import write_page  # noqa: PLC0415 - matplotlib takes a second that runs without a page need not wait

        write_page(reports, to.html)
