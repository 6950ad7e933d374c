"""What prism's relay takes: added time to first token, processor time a chunk, memory while thousands of streams are held.

A real prism on one core; on another its Redis, an endpoint of even pace that is announced as an engine as lens would, and the
client. The client's own errors cancel out: it asks the endpoint directly as well.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import numpy as np
from rich.console import Console

from loadgen.benchmarks.endpoint import MODEL
from loadgen.benchmarks.processes import Router, cpu_s, even_pace_endpoint, prism, redis_server, resident_mb
from loadgen.client import Client, open_session
from loadgen.closed_loop import send_in_turn
from loadgen.load import Arrivals, Settings, draw_load
from loadgen.open_loop import send_all
from loadgen.outcome import Outcome
from loadgen.progress import Progress
from loadgen.workload import Request, TrafficClass
from services.lens.fleet import Fleet
from shared.engine_state import EngineState
from shared.lifecycle import Readiness, background
from shared.slo import Slo

CHUNKS = 256
"""Of an answer, where relaying is measured."""
STREAMS_AT_PACE, PACE_MS, TURNS = 64, 20.0, 2
"""3,200 chunks a second: so few that none have piled up when they are read, which is what costs most."""
REQUESTS_PER_S, TTFT_ROUNDS, TTFT_CHUNKS = 200.0, 2, 8
"""Short answers where time to first token is measured: the client shares a core with what it measures against."""
ENDPOINT_TTFT_MS = 20.0
RAMP_S, SETTLE_S = 20.0, 3.0
"""Streams to be held come evenly over the one; the memory that they take is there after the other."""
TIMEOUT_S = 1200.0


class Relay(NamedTuple):
    """The figures."""

    added_ttft_p50_ms: float
    """Through prism beside directly: the difference of the medians."""
    added_ttft_p99_ms: float
    chunks_per_s_core: float
    """By the processor time of prism, decisions and accounting included."""
    cpu_s_per_1000_chunks: float
    streams_held: int
    """At once, each answered to its end."""
    rss_mb: float
    """While they are held."""
    rss_growth_mb: float
    failed: int
    """Requests of all parts that did not end well."""


class _Bench(NamedTuple):
    """What runs for one part."""

    endpoint_url: str
    router: Router
    session: aiohttp.ClientSession


def measure_relay(*, streams: int, hold_s: float, ttft_s: float) -> Relay:
    """All figures of the relay.

    Args:
        streams: that are held at once.
        hold_s: how long all of them are.
        ttft_s: how long requests arrive for the time to first token, each way.
    """
    _allow_open_files()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as directory:
        os.sched_setaffinity(0, {cores[-1]})
        try:
            return asyncio.run(_measure(Path(directory), cores, streams=streams, hold_s=hold_s, ttft_s=ttft_s))
        finally:
            os.sched_setaffinity(0, set(cores))


async def _measure(directory: Path, cores: Sequence[int], *, streams: int, hold_s: float, ttft_s: float) -> Relay:
    async with _bench(directory, cores, ENDPOINT_TTFT_MS, 2.0) as bench:
        directly, through, failed = await _first_tokens(bench, ttft_s)
    added = np.percentile(through, (50, 99)) - np.percentile(directly, (50, 99))
    async with _bench(directory, cores, ENDPOINT_TTFT_MS, PACE_MS) as bench:
        per_chunk_s, failed_at_pace = await _processor_time(bench)
    async with _bench(directory, cores, ENDPOINT_TTFT_MS, (RAMP_S + hold_s) * 1e3 / CHUNKS) as bench:
        held, rss_mb, growth_mb = await _held(bench, streams, hold_s)
    return Relay(
        added_ttft_p50_ms=round(float(added[0]) * 1e3, 3),
        added_ttft_p99_ms=round(float(added[1]) * 1e3, 3),
        chunks_per_s_core=round(1 / per_chunk_s),
        cpu_s_per_1000_chunks=round(1e3 * per_chunk_s, 4),
        streams_held=held,
        rss_mb=round(rss_mb, 1),
        rss_growth_mb=round(growth_mb, 2),
        failed=failed + failed_at_pace + streams - held,
    )


@contextlib.asynccontextmanager
async def _bench(directory: Path, cores: Sequence[int], ttft_ms: float, gap_ms: float) -> AsyncIterator[_Bench]:
    with (
        redis_server(directory, cores[-1]) as redis_url,
        even_pace_endpoint(directory, cores[-1], ttft_ms, gap_ms) as endpoint_url,
        prism(directory, cores[0], {"REDIS_URL": redis_url, "PRISM_LOG_LEVEL": "INFO"}) as router,
    ):
        fleet = Fleet(redis_url, MODEL, Readiness())
        async with open_session() as session, background(fleet.run(lambda: _state(endpoint_url), lambda _model: None)):
            await _takes_requests(session, router)
            yield _Bench(endpoint_url, router, session)
        await fleet.leave()


async def _takes_requests(session: aiohttp.ClientSession, router: Router) -> None:
    async with asyncio.timeout(10):
        while True:
            async with session.get(f"{router.url}/health/ready") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.05)


async def _first_tokens(bench: _Bench, seconds: float) -> tuple[list[float], list[float], int]:
    """Times to first token directly and through prism, by turns, and how many requests failed."""
    times_s: dict[str, list[float]] = {bench.endpoint_url: [], bench.router.url: []}
    failed = 0
    for turn in range(2 * TTFT_ROUNDS):
        url = (bench.endpoint_url, bench.router.url)[turn % 2]
        num_requests = round(REQUESTS_PER_S * seconds / TTFT_ROUNDS)
        requests = _requests(url, num_requests, TTFT_CHUNKS, Arrivals.POISSON, REQUESTS_PER_S, seed=turn // 2)
        for outcome in await _sent(bench.session, url, requests):
            failed += outcome.problem is not None
            times_s[url] += [] if outcome.ttft_s is None else [outcome.ttft_s]
    return times_s[bench.endpoint_url], times_s[bench.router.url], failed


async def _processor_time(bench: _Bench) -> tuple[float, int]:
    """Of prism, in seconds a chunk that it relayed, and how many requests failed."""
    num_requests = STREAMS_AT_PACE * TURNS
    requests = _requests(bench.router.url, num_requests, CHUNKS, Arrivals.CLOSED, None)
    before_s = cpu_s(bench.router.pid)
    outcomes = await _sent(bench.session, bench.router.url, requests, clients=STREAMS_AT_PACE)
    taken_s = cpu_s(bench.router.pid) - before_s
    failed = sum(outcome.problem is not None for outcome in outcomes)
    return taken_s / (CHUNKS * max(num_requests - failed, 1)), failed


async def _held(bench: _Bench, streams: int, hold_s: float) -> tuple[int, float, float]:
    """How many streams were held at once to their end, and prism's memory meanwhile and its growth, both in MB."""

    async def memory() -> tuple[float, float]:
        await asyncio.sleep(RAMP_S + min(SETTLE_S, hold_s / 4))
        before_mb = resident_mb(bench.router.pid)
        await asyncio.sleep(hold_s - 2 * min(SETTLE_S, hold_s / 4))
        return before_mb, resident_mb(bench.router.pid)

    requests = _requests(bench.router.url, streams, CHUNKS, Arrivals.CONSTANT, streams / RAMP_S)
    memory_read = asyncio.create_task(memory())
    outcomes = await _sent(bench.session, bench.router.url, requests)
    before_mb, after_mb = await memory_read
    async with bench.session.get(f"{bench.endpoint_url}/most-open") as response:
        most_open = int((await response.json())["most_open"])
    answered = sum(outcome.problem is None for outcome in outcomes)
    return min(most_open, answered), after_mb, after_mb - before_mb


def _requests(
    url: str, num_requests: int, chunks: int, arrivals: Arrivals, rate_per_s: float | None, *, seed: int = 0
) -> Sequence[Request]:
    settings = Settings(
        url=url,
        model=MODEL,
        requests=num_requests,
        seed=seed,
        timeout_s=TIMEOUT_S,
        arrivals=arrivals,
        rate_per_s=rate_per_s,
        classes=(TrafficClass(slo=Slo(name="stream"), share=1.0, max_tokens=(chunks, chunks)),),
    )
    return draw_load(settings, ())


async def _sent(
    session: aiohttp.ClientSession, url: str, requests: Sequence[Request], clients: int | None = None
) -> list[Outcome]:
    """What became of these requests, sent at their arrivals, or by so many clients in turn."""
    began_s = time.monotonic()
    client = Client(session, url, MODEL, started_at_s=began_s, timeout_s=TIMEOUT_S, say_class=False)
    with Progress(Console(stderr=True), len(requests)) as progress:
        if clients is None:
            return await send_all(requests, client.send, progress.ended, started_at_s=began_s)
        return await send_in_turn(requests, client.send, progress.ended, started_at_s=began_s, clients=clients)


def _state(url: str) -> EngineState:
    """An engine with room for whatever comes."""
    return EngineState(
        engine=MODEL,
        url=url,
        model=MODEL,
        executor="even-pace",
        hardware_class="even-pace",
        emulated=True,
        announced_at_s=0.0,
        max_context_tokens=32_768,
        max_running=10_000,
        step_tokens=8192,
        step_target_ms=50.0,
        kv_blocks_total=10**7,
        kv_block_tokens=16,
        kv_blocks_free=10**7,
    )


def _allow_open_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told to `measure_relay`."""
    parser.add_argument("--streams", type=int, default=2000, help="held at once (%(default)s)")
    parser.add_argument("--hold-s", type=float, default=300.0, help="for which they are held (%(default)s)")
    parser.add_argument("--ttft-s", type=float, default=20.0, help="of requests at 200/s, each way (%(default)s)")
