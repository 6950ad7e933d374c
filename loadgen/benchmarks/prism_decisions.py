"""`python -m loadgen.benchmarks.prism_decisions`: how long prism takes for a decision, and how many it makes on one core.

Engines are announced ten times a second each by a process of its own, and their forecasts written once a second, to a real
Redis. Requests arrive at random at a steady rate, and the router reads, chooses and reserves for each, as it does for a
request from a client; a decision's time runs from when it was due, so one that waits for another counts its wait. Each is
settled by its engine's next announcement. How many a core makes is found by asking for the next as soon as the last is made.
"""

import argparse
import asyncio
import contextlib
import gc
import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import redis
import uvloop

from loadgen.benchmarks.idle_engine import idle_engine
from loadgen.benchmarks.processes import end, redis_server
from loadgen.benchmarks.written import write_report
from services.prism.decisions import Decisions
from services.prism.dispatches import Dispatches
from services.prism.fleet import Fleet
from services.prism.forecasts import FleetReader
from services.prism.foresighted import foresighted
from services.prism.intake import Intake
from services.prism.metrics import Metrics
from services.prism.mirror import Mirror
from services.prism.policy import Policy
from services.prism.prompt_size import Ask
from services.prism.reservations import Reservations
from services.prism.scripts import Scripts
from shared.engine_state import EngineState
from shared.errors import Overloaded
from shared.fleet_scripts import ANNOUNCE, CHANGED, MARK, RELEASE, RESERVE, announcement
from shared.forecast import Forecast, ModelHealth
from shared.lifecycle import Readiness
from shared.names import forecast_key, reserved_key
from shared.slo import Slo
from shared.standing import Standing
from shared.steptime import FEATURES, Residuals
from shared.wire import encode

MODEL = "bench"
ANNOUNCEMENTS_PER_S = 10
BATCHES_PER_S = 100
"""Of announcements: engines do not announce themselves all at once."""
RATE_PER_S = 500.0
ALL_THERE_WITHIN_S = 20.0
VARIANTS = 7
"""Different states of an engine."""
SETTLE_ALL = f"""
for _, field in ipairs(redis.call("HKEYS", "{reserved_key("")}" .. ARGV[1])) do
  if string.find(field, ":") then
    ARGV[#ARGV + 1] = field
  end
end
"""
"""Before `ANNOUNCE`: as if the engine had heard of all that is on its way to it."""
REPORT = Path("runs/bench-prism-decisions.json")


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    decision_p50_ms_100: float
    """At 100 engines and `RATE_PER_S` requests/s."""
    decision_p99_ms_100: float
    decision_p50_ms_1000: float
    decision_p99_ms_1000: float
    decisions_per_s_core: float
    """At 100 engines, per second of this process's processor time."""


async def decisions(duration_s: float, policy: Policy = foresighted) -> Figures:
    """All figures; `duration_s` of each part."""
    few = await _timed(100, duration_s, policy)
    many = await _timed(1000, duration_s, policy)
    return Figures(
        decision_p50_ms_100=few[49],
        decision_p99_ms_100=few[98],
        decision_p50_ms_1000=many[49],
        decision_p99_ms_1000=many[98],
        decisions_per_s_core=await _per_s_core(100, duration_s, policy),
    )


async def _timed(engines: int, duration_s: float, policy: Policy) -> list[float]:
    """Percentiles of a decision's time, ms."""
    async with _deciding(engines, policy) as desk:
        await _open_loop(desk, duration_s / 5)
        times_s = await _open_loop(desk, duration_s)
    return [round(cut_s * 1e3, 3) for cut_s in statistics.quantiles(times_s, n=100)]


async def _per_s_core(engines: int, duration_s: float, policy: Policy) -> float:
    async with _deciding(engines, policy) as desk:
        began_s, busy_s = time.monotonic(), time.process_time()
        for made in itertools.count(1):
            await desk.decide()
            if time.monotonic() - began_s >= duration_s:
                return round(made / (time.process_time() - busy_s), 1)
    raise AssertionError("counting does not end")


class _Desk:
    """Makes decisions, and ends their requests at once where a client would have its answer."""

    def __init__(self, decisions: Decisions, draws: random.Random) -> None:
        self._decisions = decisions
        self._draws = draws

    async def decide(self) -> None:
        tokens = self._draws.randint(50, 2000)
        intake = Intake(
            path="",
            body=b"",
            headers={},
            model=MODEL,
            stream=True,
            ask=Ask(prompt_tokens=tokens, output_tokens=200, most_output_tokens=400),
            slo=Slo(name="interactive", ttft_s=1.0, tpot_s=0.05),
            standing=Standing(),
            arrived_at_s=time.monotonic(),
        )
        try:
            decision = await self._decisions.decide(intake)
        except Overloaded:
            return  # that is a decision, too
        ends = self._decisions.dispatches.end
        asyncio.get_running_loop().call_later(self._draws.uniform(0.2, 2.0), ends, decision.dispatch)


async def _open_loop(desk: _Desk, duration_s: float) -> list[float]:
    """From when each decision was due until it was made, s."""
    draws = random.Random(1)  # noqa: S311 - arrivals, not secrets
    began_s, due_s = time.monotonic(), 0.0
    times_s: list[float] = []

    async def decide(due_at_s: float) -> None:
        await desk.decide()
        times_s.append(time.monotonic() - due_at_s)

    async with asyncio.TaskGroup() as group:
        while (due_s := due_s + draws.expovariate(RATE_PER_S)) < duration_s:
            # A timer is late by up to a millisecond, which is no part of a decision: the last of it is waited for in turns.
            while (wait_s := began_s + due_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s - 0.002 if wait_s > 0.002 else 0)
            group.create_task(decide(began_s + due_s))
    return times_s


@contextlib.asynccontextmanager
async def _deciding(engines: int, policy: Policy) -> AsyncIterator[_Desk]:
    """A router over a fleet that is there."""
    cores = os.sched_getaffinity(0)
    own, other = max(cores), min(cores)
    with (
        tempfile.TemporaryDirectory() as directory,
        redis_server(Path(directory), other) as url,
        _fleet(url, engines, other),
    ):
        os.sched_setaffinity(0, {own})
        scripts, mirror, metrics = Scripts(url, (CHANGED, RESERVE, RELEASE)), Mirror(), Metrics()
        dispatches, fleet = Dispatches("bench"), FleetReader(scripts, mirror, Readiness(), lambda: None)
        reservations = Reservations(scripts, mirror, "bench", lambda: None)
        try:
            async with asyncio.timeout(ALL_THERE_WITHIN_S):
                while not _is_there(await fleet.read(), engines):
                    await asyncio.sleep(0.05)
            gc.collect()
            gc.freeze()  # as prism does once it has started
            made = Decisions(fleet, dispatches, metrics, reservations=reservations, policy=policy)
            yield _Desk(made, random.Random(0))  # noqa: S311 - sizes, not secrets
        finally:
            scripts.close()
            os.sched_setaffinity(0, cores)


def _is_there(fleet: Fleet, engines: int) -> bool:
    return len(fleet.engines) == engines and all(engine.steps_learned for engine in fleet.engines)


@contextlib.contextmanager
def _fleet(url: str, engines: int, core: int) -> Iterator[None]:
    """The process that announces."""
    command = [sys.executable, "-m", "loadgen.benchmarks.prism_decisions", "--announce", url, "--engines", str(engines)]
    process = subprocess.Popen(command)  # noqa: S603 - ourselves
    os.sched_setaffinity(process.pid, {core})
    try:
        yield
    finally:
        end(process)


def announce(url: str, engines: int) -> None:
    """For ever: every engine ten times a second with its dispatches settled, its forecast once a second."""
    connection: Any = redis.Redis.from_url(url).connection_pool.get_connection()

    def packed(*words: str | bytes | int) -> bytes:
        return b"".join(connection.pack_command(*words))

    def load(script: str) -> str:
        connection.send_command("SCRIPT", "LOAD", script)
        return str(connection.read_response().decode())

    draws = random.Random(2)  # noqa: S311 - loads, not secrets
    settling, marking = load(SETTLE_ALL + ANNOUNCE), load(f"{MARK} mark(time_us(), ARGV)")
    # Made before: this process shares its core with Redis.
    states = [
        [packed("EVALSHA", settling, 0, *announcement(_state(number, draws))) for _ in range(VARIANTS)]
        for number in range(engines)
    ]
    keys = [forecast_key(_name(number)) for number in range(engines)]
    forecasts = [
        [packed("SET", key, encode(_forecast(number, draws))) + packed("EVALSHA", marking, 0, key) for _ in range(2)]
        for number, key in enumerate(keys)
    ]
    ticks, began_s = BATCHES_PER_S // ANNOUNCEMENTS_PER_S, time.monotonic()
    for tick in itertools.count():
        turn, place = divmod(tick, ticks)
        announced = range(place, engines, ticks)
        # Each at one of its ten announcements a second, and all of them at the first.
        learned = [number for number in announced if turn == 0 or (turn + number // ticks) % ANNOUNCEMENTS_PER_S == 0]
        commands = [states[number][turn % VARIANTS] for number in announced]
        commands += [forecasts[number][turn // ANNOUNCEMENTS_PER_S % 2] for number in learned]
        connection.send_packed_command(commands)
        for _ in range(len(announced) + 2 * len(learned)):
            connection.read_response()
        time.sleep(max(began_s + (tick + 1) / BATCHES_PER_S - time.monotonic(), 0.0))


def _name(number: int) -> str:
    return f"engine-{number:04}"


def _state(number: int, draws: random.Random) -> EngineState:
    return idle_engine(
        _name(number),
        f"http://127.0.0.1:1/{number}",
        MODEL,
        max_context_tokens=8192,
        max_running=256,
        step_tokens=2048,
        kv_blocks_total=20_000,
        kv_blocks_free=draws.randint(5_000, 15_000),
        decode_seqs=draws.randint(5, 60),
        prefill_seqs=draws.randint(0, 3),
        kv_tokens=draws.randint(5_000, 80_000),
        waiting_requests=draws.randint(0, 4),
        waiting_prefill_tokens=draws.randint(0, 8_000),
        in_flight_ms=draws.uniform(5.0, 50.0),
        admitted={f"replica-{replica}": draws.randint(1, 100_000) for replica in range(4)},
    )


def _forecast(number: int, draws: random.Random) -> Forecast:
    """As large as a learned one."""
    factor = draws.uniform(0.9, 1.1) * (1 + number % 4)
    size = len(FEATURES)
    return Forecast(
        engine=_name(number),
        written_at_s=time.time(),
        health=ModelHealth.HEALTHY,
        steps_learned=draws.randint(1_000, 1_000_000),
        mape=0.03,
        coefficients_ms={**dict.fromkeys(FEATURES, 1e-6 * factor), "base": 9.0 * factor, "per_token": 0.05 * factor},
        uncertainty_ms=dict.fromkeys(FEATURES, draws.random()),
        floor_ms=8.0 * factor,
        decode=Residuals(deviation=0.05),
        mixed=Residuals(deviation=0.05),
        capacity_tokens_per_s=10_000.0 / factor,
        doubt_ms=tuple(tuple(draws.uniform(-1e-3, 1e-3) for _ in range(row + 1)) for row in range(size)),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.benchmarks.prism_decisions", description=__doc__)
    parser.add_argument("--duration", type=float, default=10.0, help="of each part, s (%(default)s)")
    parser.add_argument("--report", type=Path, default=REPORT)
    parser.add_argument("--announce", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--engines", type=int, default=100, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.announce:
        announce(options.announce, options.engines)
    write_report(msgspec.structs.asdict(uvloop.run(decisions(options.duration))), options.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
