"""One run against a live system: its load is sent, measured and judged."""

import asyncio
import contextlib
import gc
import time
from collections.abc import Collection, Iterator, Sequence

import aiohttp
from rich.console import Console

from loadgen.client import Client
from loadgen.closed_loop import send_in_turn
from loadgen.engines import Engine, NoSystem, engine_problems, read_counted_engines, read_engines
from loadgen.lag import LagMeter
from loadgen.load import Arrivals, Settings, draw_load
from loadgen.open_loop import send_all
from loadgen.outcome import Outcome
from loadgen.progress import Progress
from loadgen.report import Report, make_report
from loadgen.traces import TraceRequest
from loadgen.workload import Request

LEARNED_WITHIN_S = 10.0
"""The last steps' telemetry is learned, and its forecast written, by then."""
LOOK_AGAIN_S = 0.25
COLLECT_AFTER = (50_000, 20, 100)
"""Objects, and collections of the younger generation; Python's own are 700, 10 and 10."""


async def run_once(
    session: aiohttp.ClientSession,
    settings: Settings,
    trace: Sequence[TraceRequest],
    console: Console,
    require_engines: int = 0,
) -> Report:
    """Send the load and judge it.

    Raises:
        ImpossibleLoad: the settings ask for what the trace does not have.
        NothingScored: the warm-up was as long as the run.
    """
    requests = draw_load(settings, trace)
    engines_before = await _engines_before(session, settings.url)
    console.print(_announcement(settings, requests), markup=False, highlight=False)
    with _rare_collections():
        started_at_s = time.monotonic()
        async with LagMeter() as meter:
            outcomes = await _send(session, settings, requests, console, started_at_s)
            own_load = meter.read()
    duration_s = time.monotonic() - started_at_s
    served = {outcome.engine for outcome in outcomes if outcome.engine is not None and outcome.problem is None}
    try:
        engines = await _read_learned_engines(session, settings.url, served, require_engines)
        problems = engine_problems(engines, served, require_engines)
    except NoSystem as error:
        # Servers of other kinds have no such list; one that had it must have it still.
        engines, problems = (), [str(error)] if require_engines or engines_before else []
    return make_report(settings, outcomes, engines, problems, duration_s, own_load, engines_before)


@contextlib.contextmanager
def _rare_collections() -> Iterator[None]:
    """A garbage collection stops every stream for its time: fewer of them, which leave out what is there already."""
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


async def _send(
    session: aiohttp.ClientSession,
    settings: Settings,
    requests: Sequence[Request],
    console: Console,
    started_at_s: float,
) -> list[Outcome]:
    client = Client(
        session,
        settings.url,
        settings.model,
        started_at_s=started_at_s,
        timeout_s=settings.timeout_s * settings.time_scale,
        retries=settings.retries,
        say_class=settings.say_class,
        chat=settings.chat,
    )
    with Progress(console, len(requests)) as progress:
        if settings.arrivals is not Arrivals.CLOSED:
            return await send_all(requests, client.send, progress.ended, started_at_s=started_at_s)
        return await send_in_turn(
            requests,
            client.send,
            progress.ended,
            started_at_s=started_at_s,
            clients=settings.concurrency,
            think_s=settings.think_s * settings.time_scale,
        )


def _announcement(settings: Settings, requests: Sequence[Request]) -> str:
    how = (
        f"from {settings.concurrency} clients in turn"
        if settings.arrivals is Arrivals.CLOSED
        else f"over {requests[-1].arrival_s:.0f} s"
    )
    return f"Sending {len(requests)} requests to {settings.model} at {settings.url} {how}."


async def _engines_before(session: aiohttp.ClientSession, url: str) -> tuple[Engine, ...]:
    """Empty where there is no such list. An engine that is in it later on counts from its start."""
    try:
        return await read_counted_engines(session, url)
    except NoSystem:
        return ()


async def _read_learned_engines(
    session: aiohttp.ClientSession, url: str, served: Collection[str], required: int
) -> tuple[Engine, ...]:
    """The engines once enough of them count as learned, or as they are when the time for that is up."""
    gives_up_at_s = time.monotonic() + LEARNED_WITHIN_S
    engines = await read_counted_engines(session, url)
    while engine_problems(engines, served, required) and time.monotonic() < gives_up_at_s:
        await asyncio.sleep(LOOK_AGAIN_S)
        engines = await read_engines(session, url)
    return engines
