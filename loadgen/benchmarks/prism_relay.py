"""What prism's relay takes: added time to first token, processor time a chunk, memory while thousands of streams are held.

A real prism on one core; on another its Redis, an engine that steps evenly and is announced as lens would, and the client. Both
do so little that prism is what is measured; what the client adds itself cancels out, as it asks the engine directly too.
"""

import argparse
import asyncio
import contextlib
import math
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import numpy as np

from loadgen.arrivals import constant_arrivals, poisson_arrivals
from loadgen.benchmarks.counting import Answered, CountingClient
from loadgen.benchmarks.idle_engine import idle_engine
from loadgen.benchmarks.processes import Router, cpu_s, prism, redis_server, resident_mb, stepping_engine
from loadgen.benchmarks.stepping import MODEL
from loadgen.client import open_session
from services.lens.fleet import Fleet
from shared.lifecycle import Readiness, background
from shared.open_files import allow_many_connections

CHUNKS = 256
"""Of an answer, where relaying is measured."""
STREAMS_AT_PACE, PACE_MS, TURNS = 256, 40.0, 2
"""6,400 chunks a second, of an engine that steps for all of them at once."""
REQUESTS_PER_S, TTFT_ROUNDS, TTFT_CHUNKS = 200.0, 2, 8
"""Answers are short where time to first token is measured: client and engine share a core, which must not be full."""
WARM_UP_REQUESTS = 50
RAMP_S, SETTLE_S = 20.0, 3.0
"""Streams to be held come evenly over the one; the memory that they take is there after the other."""
HELD_STEP_MS = 1250.0
"""Between their chunks: 256 in five minutes and the ramp."""


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

    engine_url: str
    router: Router
    session: aiohttp.ClientSession


def measure_relay(*, streams: int, hold_s: float, ttft_s: float) -> Relay:
    """All figures of the relay.

    Args:
        streams: that are held at once.
        hold_s: how long all of them are.
        ttft_s: how long requests arrive for the time to first token, each way.
    """
    allow_many_connections()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as directory:
        os.sched_setaffinity(0, {cores[-1]})
        try:
            return asyncio.run(_measure(Path(directory), cores, streams=streams, hold_s=hold_s, ttft_s=ttft_s))
        finally:
            os.sched_setaffinity(0, set(cores))


async def _measure(directory: Path, cores: Sequence[int], *, streams: int, hold_s: float, ttft_s: float) -> Relay:
    async with _bench(directory, cores, 2.0) as bench:
        directly_s, through_s, failed = await _first_tokens(bench, ttft_s)
    added_s = np.percentile(through_s, (50, 99)) - np.percentile(directly_s, (50, 99))
    async with _bench(directory, cores, PACE_MS) as bench:
        per_chunk_s, failed_at_pace = await _processor_time(bench)
    async with _bench(directory, cores, HELD_STEP_MS) as bench:
        held, rss_mb, growth_mb = await _held(bench, streams, hold_s)
    return Relay(
        added_ttft_p50_ms=round(float(added_s[0]) * 1e3, 3),
        added_ttft_p99_ms=round(float(added_s[1]) * 1e3, 3),
        chunks_per_s_core=round(1 / per_chunk_s),
        cpu_s_per_1000_chunks=round(1e3 * per_chunk_s, 4),
        streams_held=held,
        rss_mb=round(rss_mb, 1),
        rss_growth_mb=round(growth_mb, 2),
        failed=failed + failed_at_pace + streams - held,
    )


@contextlib.asynccontextmanager
async def _bench(directory: Path, cores: Sequence[int], step_ms: float) -> AsyncIterator[_Bench]:
    with (
        redis_server(directory, cores[-1]) as redis_url,
        stepping_engine(directory, cores[-1], step_ms) as engine_url,
        prism(directory, cores[0], {"REDIS_URL": redis_url}) as router,
    ):
        fleet, state = Fleet(redis_url, MODEL, Readiness()), idle_engine(MODEL, engine_url, MODEL)
        async with (
            open_session() as session,
            background(fleet.run(lambda: state, lambda: (), lambda _model: None, lambda: ())),
        ):
            await _takes_requests(session, router)
            yield _Bench(engine_url, router, session)
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
    num_requests = round(REQUESTS_PER_S * seconds / TTFT_ROUNDS)
    times_s: tuple[list[float], list[float]] = ([], [])
    failed = 0
    for turn in range(2 * TTFT_ROUNDS):
        url = (bench.engine_url, bench.router.url)[turn % 2]
        await _sent(url, TTFT_CHUNKS, constant_arrivals(REQUESTS_PER_S, WARM_UP_REQUESTS))
        arrivals_s = poisson_arrivals(REQUESTS_PER_S, num_requests, np.random.default_rng(turn // 2))
        for answered in await _sent(url, TTFT_CHUNKS, arrivals_s):
            failed += not _is_whole(answered, TTFT_CHUNKS)
            times_s[turn % 2].extend([] if answered.ttft_s is None else [answered.ttft_s])
    return *times_s, failed


async def _processor_time(bench: _Bench) -> tuple[float, int]:
    """Of prism, in seconds a chunk that it relayed, and how many requests failed."""
    before_s = cpu_s(bench.router.pid)
    arrivals_s = constant_arrivals(STREAMS_AT_PACE / (CHUNKS * PACE_MS / 1e3), STREAMS_AT_PACE * TURNS)
    outcomes = await _sent(bench.router.url, CHUNKS, arrivals_s)
    taken_s = cpu_s(bench.router.pid) - before_s
    failed = sum(not _is_whole(answered, CHUNKS) for answered in outcomes)
    return taken_s / sum(answered.events for answered in outcomes), failed


async def _held(bench: _Bench, streams: int, hold_s: float) -> tuple[int, float, float]:
    """How many streams were held at once and to their end, and prism's memory meanwhile and its growth, both in MB."""
    chunks = math.ceil((RAMP_S + hold_s) / (HELD_STEP_MS / 1e3))
    settle_s = min(SETTLE_S, hold_s / 4)

    async def memory() -> tuple[float, float]:
        await asyncio.sleep(RAMP_S + settle_s)
        before_mb = resident_mb(bench.router.pid)
        await asyncio.sleep(hold_s - 2 * settle_s)
        return before_mb, resident_mb(bench.router.pid)

    memory_read = asyncio.create_task(memory())
    outcomes = await _sent(bench.router.url, chunks, constant_arrivals(streams / RAMP_S, streams))
    before_mb, after_mb = await memory_read
    async with bench.session.get(f"{bench.engine_url}/most-open") as response:
        most_open = int((await response.json(content_type=None))["most_open"])
    whole = sum(_is_whole(answered, chunks) for answered in outcomes)
    return min(most_open, whole), after_mb, after_mb - before_mb


async def _sent(url: str, chunks: int, arrivals_s: Sequence[float]) -> list[Answered]:
    """What became of requests sent at these instants."""
    client = CountingClient(url, MODEL)
    began_s = time.monotonic()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = []
            for arrival_s in arrivals_s:
                due_at_s = began_s + arrival_s
                if (wait_s := due_at_s - time.monotonic()) > 0:
                    await asyncio.sleep(wait_s)
                tasks.append(group.create_task(client.ask(chunks, due_at_s)))
        return [task.result() for task in tasks]
    finally:
        client.close()


def _is_whole(answered: Answered, chunks: int) -> bool:
    return answered.whole and answered.events == chunks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told to `measure_relay`."""
    parser.add_argument("--streams", type=int, default=2000, help="held at once (%(default)s)")
    parser.add_argument("--hold-s", type=float, default=300.0, help="for which they are held (%(default)s)")
    parser.add_argument("--ttft-s", type=float, default=20.0, help="of requests at 200/s, each way (%(default)s)")
