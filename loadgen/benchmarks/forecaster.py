"""`python -m loadgen.benchmarks.forecaster`: how many steps a second one forecaster learns on one core, and how fresh forecasts are.

Throughput: a backlog of telemetry, published as fast as it goes, is drained; from the first publish until Redis shows every
step. Freshness: steps come at a steady rate, and a reader polls Redis until a forecast counts them; from the end of a step,
20 ms in lens included, which is the longest that lens may keep it.
"""

import argparse
import asyncio
import gc
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import nats
import redis
from nats.aio.client import Client

from loadgen.benchmarks.processes import cpu_s, forecaster, nats_server, redis_server
from loadgen.benchmarks.traffic import steps
from loadgen.benchmarks.written import write_report
from shared.names import forecast_key, telemetry_subject
from shared.telemetry import StepReport, Telemetry
from shared.wire import encode

LENS_WAIT_S = 0.02
STEPS_A_MESSAGE = 3
"""Of an engine with 150 steps/s, in the 20 ms that lens gathers them."""
POLL_S = 0.002
ENGINES_POLLED = 10
"""So few that the reader does not take the core from Redis."""
LEARNED_WITHIN_S = 120.0
MESSAGES_A_FLUSH = 256


class _Learned(msgspec.Struct):
    steps_learned: int


class Lens:
    """Publishes one engine's steps, and counts them."""

    def __init__(self, number: int) -> None:
        self.engine = f"engine-{number}"
        self.pace = 0.5 + (number * 37 % 101) / 100
        """Steps of this engine relative to the mean: engines do not step in time with each other."""
        self.published = 0
        self._steps = steps(number)
        self._messages = 0

    def message(self, num_steps: int) -> tuple[str, bytes, dict[str, str]]:
        """Subject, payload and headers of the next message."""
        reports: tuple[StepReport, ...] = tuple(next(self._steps) for _ in range(num_steps))
        self._messages += 1
        self.published += num_steps
        telemetry = Telemetry(engine=self.engine, lens="bench", sequence=self._messages, reports=reports)
        headers = {"Nats-Msg-Id": f"{self.engine}:bench:{self._messages}"}
        return telemetry_subject(self.engine), encode(telemetry), headers


class Reader:
    """Polls Redis for how many steps of each engine have been learned."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis.Redis.from_url(redis_url)
        self._decoder = msgspec.json.Decoder(_Learned)

    def learned(self, lenses: Sequence[Lens]) -> list[int]:
        """By lens; 0 where there is no forecast."""
        values = self._redis.mget([forecast_key(lens.engine) for lens in lenses])
        return [self._decoder.decode(value).steps_learned if value else 0 for value in values]


async def drained_steps_per_s(client: Client, lenses: Sequence[Lens], reader: Reader, num_steps: int) -> float:
    """Publish a backlog, wait until all of it is learned and in Redis; the rate over all of that time."""
    period_s = len(lenses) * STEPS_A_MESSAGE / num_steps
    messages = [sending.message for sending in _sendings(lenses, period_s, 1.0, STEPS_A_MESSAGE)]
    began_at_s = time.monotonic()
    for number, (subject, payload, headers) in enumerate(messages):
        await client.publish(subject, payload, headers=headers)
        if number % MESSAGES_A_FLUSH == 0:
            await client.flush()
    await client.flush()
    await learned_all(lenses, reader)
    return len(messages) * STEPS_A_MESSAGE / (time.monotonic() - began_at_s)


async def learned_all(lenses: Sequence[Lens], reader: Reader) -> None:
    """Wait until every step published is in a forecast.

    Raises:
        SystemExit: they were not in time.
    """
    gives_up_at_s = time.monotonic() + LEARNED_WITHIN_S
    published = [lens.published for lens in lenses]
    # One engine is read until it is done, as reading all of them takes time from Redis.
    while reader.learned(lenses[-1:]) != published[-1:] or reader.learned(lenses) != published:
        if time.monotonic() > gives_up_at_s:
            learned = sum(reader.learned(lenses))
            raise SystemExit(f"{learned} of {sum(published)} steps learned within {LEARNED_WITHIN_S:.0f} s")
        await asyncio.sleep(0.02)


class Freshness(NamedTuple):
    """Ages of steps when they could first be read, ms."""

    ages_ms: tuple[float, ...]
    late_ms: float
    """By how much the publisher was late at worst; more than a few ms spoil the measurement."""


async def freshness(
    client: Client, lenses: Sequence[Lens], reader: Reader, steps_per_s: float, duration_s: float
) -> Freshness:
    """Ages of the steps of some engines while all send at this rate together."""
    polled = lenses[:: max(len(lenses) // ENGINES_POLLED, 1)]
    ended_at_s: dict[str, list[float]] = {lens.engine: [] for lens in polled}
    already = dict(zip((lens.engine for lens in polled), reader.learned(polled), strict=True))
    ages_ms: list[float] = []
    seen = dict(already)
    done = asyncio.Event()

    async def poll() -> None:
        while not done.is_set() or any(seen[lens.engine] < lens.published for lens in polled):
            counts = reader.learned(polled)
            now_s = time.monotonic()
            for lens, count in zip(polled, counts, strict=True):
                ends_s = ended_at_s[lens.engine]
                first, last = seen[lens.engine] - already[lens.engine], count - already[lens.engine]
                ages_ms.extend((now_s - end_s) * 1e3 for end_s in ends_s[first:last])
                seen[lens.engine] = count
            await asyncio.sleep(POLL_S)

    sendings = _sendings(lenses, len(lenses) / steps_per_s, duration_s, steps_a_message=1)
    polling = asyncio.create_task(poll())
    late_s, began_at_s = 0.0, time.monotonic()
    for after_s, lens, (subject, payload, headers) in sendings:
        end_s = began_at_s + after_s
        send_at_s = end_s + LENS_WAIT_S
        if (wait_s := send_at_s - time.monotonic()) > 0:
            await asyncio.sleep(wait_s)
        late_s = max(late_s, time.monotonic() - send_at_s)
        if lens.engine in ended_at_s:
            ended_at_s[lens.engine].append(end_s)
        await client.publish(subject, payload, headers=headers)
    done.set()
    await asyncio.wait_for(polling, LEARNED_WITHIN_S)
    return Freshness(tuple(ages_ms), late_s * 1e3)


class _Sending(NamedTuple):
    after_s: float
    """When the step ends, from the beginning."""
    lens: Lens
    message: tuple[str, bytes, dict[str, str]]


def _sendings(lenses: Sequence[Lens], period_s: float, duration_s: float, steps_a_message: int) -> list[_Sending]:
    """Messages in the order of their times, each engine's at its own pace; `period_s` on average."""
    times = sorted(
        (number * period_s / lens.pace, place)
        for place, lens in enumerate(lenses)
        for number in range(1, round(duration_s * lens.pace / period_s) + 1)
    )
    return [_Sending(after_s, lenses[place], lenses[place].message(steps_a_message)) for after_s, place in times]


async def measure(options: argparse.Namespace, directory: Path) -> dict[str, object]:
    """All figures of the report."""
    cores = os.sched_getaffinity(0)
    own, other = max(cores), min(cores)
    if own == other:
        raise SystemExit("the forecaster needs a core of its own, and the rest another")
    with nats_server(directory, other) as nats_url, redis_server(directory, other) as redis_url:
        environment = {"NATS_URL": nats_url, "REDIS_URL": redis_url}
        with forecaster(directory, own, environment) as pid:
            os.sched_setaffinity(0, {other})
            client, reader = await nats.connect(nats_url), Reader(redis_url)
            lenses = [Lens(number) for number in range(options.engines)]
            await drained_steps_per_s(client, lenses, reader, options.steps // 10)
            busy_s = cpu_s(pid)
            rates = [await drained_steps_per_s(client, lenses, reader, options.steps) for _ in range(options.rounds)]
            busy_s = cpu_s(pid) - busy_s
            fresh = await freshness(client, lenses, reader, options.rate, options.duration)
            await client.close()
    cuts = statistics.quantiles(fresh.ages_ms, n=100)
    return {
        "steps_per_s": round(statistics.median(rates)),
        "steps_per_s_rounds": [round(rate) for rate in rates],
        "cpu_us_per_step": round(busy_s / (options.rounds * options.steps) * 1e6, 1),
        "freshness_p50_ms": round(cuts[49], 1),
        "freshness_p99_ms": round(cuts[98], 1),
        "freshness_max_ms": round(max(fresh.ages_ms), 1),
        "freshness_steps": len(fresh.ages_ms),
        "freshness_steps_per_s": options.rate,
        "publisher_late_ms": round(fresh.late_ms, 1),
        "engines": options.engines,
        "steps_a_round": options.steps,
        "throughput": "a backlog drained, from the first publish until Redis shows every step",
        "python": platform.python_version(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.benchmarks.forecaster", description=__doc__)
    parser.add_argument("--engines", type=int, default=100)
    parser.add_argument("--steps", type=int, default=90_000, help="a round of draining (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of draining (%(default)s)")
    parser.add_argument("--rate", type=float, default=2_000.0, help="steps/s while freshness is measured (%(default)s)")
    parser.add_argument("--duration", type=float, default=15.0, help="of that, s (%(default)s)")
    parser.add_argument("--report", type=Path, default=Path("runs/bench-forecaster.json"))
    options = parser.parse_args(arguments)
    gc.disable()  # a pause of this process would be taken for one of the forecaster
    with tempfile.TemporaryDirectory() as directory:
        report = asyncio.run(measure(options, Path(directory)))
    write_report(report, options.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
