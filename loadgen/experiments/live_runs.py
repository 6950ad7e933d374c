"""A load for several lenses, each asked directly, all at once or one after the other; or for a router."""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

import aiohttp

from loadgen.client import Client
from loadgen.engines import Engine, read_counted_engines
from loadgen.experiments.live_rows import LiveRow, live_row
from loadgen.lag import LagMeter, OwnLoad
from loadgen.load import Settings
from loadgen.open_loop import send_all
from loadgen.outcome import Outcome
from loadgen.report import Report, make_report
from loadgen.synthetic import Synthetic
from loadgen.workload import Request
from shared.slo import Slo

MOST_RATES = 10**6
"""In thousandths of requests a second, so that no seed's probe is another's."""
PROBE_TOKENS, PROBE_OUTPUT_TOKENS = 64, 8


class LensUnderTest(NamedTuple):
    """One that is compared."""

    planner: str
    engine: str
    url: str


class Asked(NamedTuple):
    """A load as it is told to every lens, and by what name it goes."""

    system: str
    times_capacity: float
    settings: Settings
    """Of its URL nothing is made."""
    requests: Sequence[Request]


class _Run(NamedTuple):
    """What came of a lens's requests."""

    outcomes: Sequence[Outcome]
    duration_s: float


async def run_routed(
    session: aiohttp.ClientSession, url: str, settings: Settings, requests: Sequence[Request]
) -> Report:
    """What a router's clients saw, and how late emulated engines were meanwhile.

    Raises:
        NoSystem: the router does not answer.
    """
    before = await read_counted_engines(session, url)
    async with LagMeter() as meter:
        run = await _run(session, url, settings, requests)
        own_load = meter.read()
    after = await read_counted_engines(session, url)
    return make_report(settings, run.outcomes, after, (), run.duration_s, own_load, before)


async def probe_s(session: aiohttp.ClientSession, url: str, settings: Settings) -> float | None:
    """What a prompt takes now that nobody has asked this lens before; None where it failed."""
    (outcome,), _ = await _run(session, url, settings, (_probe(settings),))
    return outcome.e2e_s


async def run_all_at_once(
    session: aiohttp.ClientSession, router_url: str, asked: Asked, lenses: Sequence[LensUnderTest]
) -> Sequence[LiveRow]:
    """The same for each at the same time.

    Args:
        router_url: of the router that knows their engines, and how late emulated ones were.
    """
    before = await read_counted_engines(session, router_url)
    async with LagMeter() as meter:
        runs = await asyncio.gather(*(_run(session, lens.url, asked.settings, asked.requests) for lens in lenses))
        own_load = meter.read()
    after = await read_counted_engines(session, router_url)
    return [
        _row(asked, lens, run, own_load, None, _named(before, lens), _named(after, lens))
        for lens, run in zip(lenses, runs, strict=True)
    ]


async def run_in_turn(
    session: aiohttp.ClientSession, asked: Asked, lenses: Sequence[LensUnderTest]
) -> Sequence[LiveRow]:
    """The same for one after the other, each beginning when the one before has ended."""
    rows = []
    for lens in lenses:
        alone_s = await probe_s(session, lens.url, asked.settings)
        async with LagMeter() as meter:
            run = await _run(session, lens.url, asked.settings, asked.requests)
            rows.append(_row(asked, lens, run, meter.read(), alone_s))
    return rows


def _probe(settings: Settings) -> Request:
    """A prompt that its lens has not seen before."""
    assert settings.rate_per_s is not None, "the load has a rate"
    prompt = Synthetic(tokens=PROBE_TOKENS, seed=MOST_RATES * settings.seed + round(1e3 * settings.rate_per_s))
    return Request(arrival_s=0.0, prompt=prompt.text, max_tokens=PROBE_OUTPUT_TOKENS, slo=Slo(), ignore_eos=True)


async def _run(session: aiohttp.ClientSession, url: str, settings: Settings, requests: Sequence[Request]) -> _Run:
    started_at_s = time.monotonic()
    client = Client(
        session,
        url,
        settings.model,
        started_at_s=started_at_s,
        timeout_s=settings.timeout_s * settings.time_scale,
        say_class=settings.say_class,
        chat=settings.chat,
    )
    outcomes = await send_all(requests, client.send, lambda _outcome: None, started_at_s=started_at_s)
    return _Run(outcomes, time.monotonic() - started_at_s)


def _row(
    asked: Asked,
    lens: LensUnderTest,
    run: _Run,
    own_load: OwnLoad,
    probe_s: float | None,
    before: Sequence[Engine] = (),
    after: Sequence[Engine] = (),
) -> LiveRow:
    report = make_report(asked.settings, run.outcomes, after, (), run.duration_s, own_load, before)
    return live_row(asked.system, lens.planner, asked.times_capacity, report, probe_s)


def _named(engines: Sequence[Engine], lens: LensUnderTest) -> Sequence[Engine]:
    return [engine for engine in engines if engine.engine == lens.engine]
