"""`python -m loadgen goodput`: search a running system for the highest rate at which it keeps its promises."""

import argparse
import asyncio
import os
from collections.abc import Sequence

import aiohttp
import msgspec
from rich.console import Console

from loadgen.arguments import positive_float, positive_int, share
from loadgen.client import open_session
from loadgen.commands.files import add_file_options, writable_files, write_json
from loadgen.commands.status import FAILED, INVALID
from loadgen.engines import read_model
from loadgen.goodput import Goodput, Measured, search_goodput
from loadgen.live import run_once
from loadgen.load import Arrivals, ImpossibleLoad, Settings
from loadgen.options import API_KEY, add_load_options, load_settings, load_trace, requests_within
from loadgen.repeats import emulated_in
from loadgen.report import Report
from loadgen.rows import write_rows
from loadgen.tables import goodput_table, show_notice
from loadgen.traces import TraceRequest

LOWEST_PER_S, HIGHEST_PER_S = 0.01, 10_000.0
RUN_S = 60.0
"""For which requests arrive: a number of requests would be over before a high rate had built any queue."""


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """What is written as JSON: the runs without their single requests, which are in the CSV."""

    v: int = 1
    settings: Settings
    emulated_engines: tuple[str, ...] = ()
    """Of any of the runs."""
    goodput: Goodput
    reports: tuple[Report, ...]


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Make the command known."""
    parser = commands.add_parser(
        "goodput",
        help="the highest rate at which attainment stays at a target",
        description="Doubles the rate until attainment falls below the target, then halves the gap. --rate is where it "
        f"begins; unless told otherwise, requests arrive for {RUN_S:g} s at each rate. Exits with 0 if it found a rate, "
        "with 3 if a machine was too busy to go on: this one, or that of emulated engines.",
    )
    add_load_options(parser)
    search = parser.add_argument_group("the search")
    search.add_argument("--target", type=share, default=0.9, help="least mean attainment, a fraction (%(default)s)")
    search.add_argument(
        "--repeats", type=positive_int, default=3, help="runs a rate, each with the next seed (%(default)s)"
    )
    search.add_argument("--lowest", type=positive_float, default=LOWEST_PER_S, metavar="RATE", help="%(default)s")
    search.add_argument("--highest", type=positive_float, default=HIGHEST_PER_S, metavar="RATE", help="%(default)s")
    search.add_argument(
        "--tolerance", type=positive_float, default=0.05, help="end when the gap is such a fraction (%(default)s)"
    )
    search.add_argument(
        "--most-rates", type=positive_int, default=16, metavar="N", help="end after so many (%(default)s)"
    )
    add_file_options(parser)
    parser.set_defaults(command=goodput)


def goodput(options: argparse.Namespace, console: Console) -> int:
    """Search, show, write; returns the exit status."""
    to = writable_files(options)
    search = asyncio.run(_search(options, console))
    found = search.goodput
    console.print(goodput_table(found, is_emulated=bool(search.emulated_engines)))
    console.print(f"{_verdict(found)} The search ended: {found.reason}.", markup=False, highlight=False)
    show_notice(search.reports, console)
    if to.csv is not None:
        write_rows(search.reports, to.csv)
    if to.html is not None:
        from loadgen.page import write_goodput_page  # noqa: PLC0415 - as for a run

        write_goodput_page(found, search.reports, to.html)
    if to.json is not None:
        bare = tuple(msgspec.structs.replace(report, outcomes=()) for report in search.reports)
        write_json(msgspec.structs.replace(search, reports=bare), to.json)
    if any(report.overloads for report in search.reports):
        return INVALID
    return FAILED if found.rate_per_s is None else 0


def _verdict(found: Goodput) -> str:
    if found.rate_per_s is None:
        return f"No rate kept {found.target:.0%}."
    sureness = "; chance may have decided at its edge: more repeats would tell" if found.doubtful else ""
    return f"Goodput: {found.rate_per_s:.4g} requests/s at {found.target:.0%} attainment{sureness}."


async def _search(options: argparse.Namespace, console: Console) -> Search:
    trace = load_trace(options)
    async with open_session(os.environ.get(API_KEY)) as session:
        settings = load_settings(options, options.model or await read_model(session, options.url))
        if settings.arrivals in (Arrivals.CLOSED, Arrivals.RAMP):
            raise ImpossibleLoad(f"{settings.arrivals} arrivals have no rate to search for")
        if options.lowest > options.highest:
            raise ImpossibleLoad(f"--lowest {options.lowest:g} is above --highest {options.highest:g}")
        search = search_goodput(
            settings.rate_per_s or 1.0,
            lowest_per_s=options.lowest,
            highest_per_s=options.highest,
            target=options.target,
            tolerance=options.tolerance,
            most_rates=options.most_rates,
        )
        # A replay without either is of the whole trace, at whatever rate.
        by_number = options.requests is not None or settings.requests is None
        duration_s = options.duration or (None if by_number else RUN_S)
        reports: list[Report] = []
        rate_per_s = next(search)
        while True:
            at_rate = _at_rate(settings, rate_per_s, duration_s)
            of_rate = await _measure(session, at_rate, trace, options.repeats, console)
            reports += of_rate
            spoiled = next(filter(None, map(_spoiled, of_rate)), None)
            try:
                rate_per_s = search.send(Measured(tuple(r.total.attainment for r in of_rate), spoiled))
            except StopIteration as found:
                return Search(
                    settings=settings,
                    emulated_engines=emulated_in(reports),
                    goodput=found.value,
                    reports=tuple(reports),
                )


def _spoiled(report: Report) -> str | None:
    """Why a run says nothing about its rate, if so: a server that answers nothing is no slow one."""
    if report.overloads:
        return report.overloads[0]
    return None if report.total.ended_well else report.problems[0]


def _at_rate(settings: Settings, rate_per_s: float, duration_s: float | None) -> Settings:
    requests = settings.requests if duration_s is None else requests_within(duration_s, rate_per_s)
    return msgspec.structs.replace(settings, rate_per_s=rate_per_s, requests=requests)


async def _measure(
    session: aiohttp.ClientSession,
    settings: Settings,
    trace: Sequence[TraceRequest],
    repeats: int,
    console: Console,
) -> Sequence[Report]:
    reports = []
    for seed in range(settings.seed, settings.seed + repeats):
        report = await run_once(session, msgspec.structs.replace(settings, seed=seed), trace, console)
        console.print(
            f"{settings.rate_per_s:.4g} requests/s, seed {seed}: {report.total.attainment:.1%} attained",
            markup=False,
            highlight=False,
        )
        reports.append(report)
        if _spoiled(report) is not None:
            break
    return reports
