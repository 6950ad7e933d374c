"""`python -m loadgen.benchmarks.lens`: what lens takes for planning and for streaming, and how busy it keeps its engine.

Planning: our planner over answers that run and prompts that wait, more than can be on time. Streaming: a lens, asked directly,
over an emulated engine whose steps take 10 ms; how long the device waits for lens between steps is told by its telemetry,
processor time and memory by lens's own metrics.
"""

import argparse
import asyncio
import math
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import msgspec
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from infra.native.ports import free_ports
from infra.native.system import NativeSystem
from loadgen.benchmarks.written import write_report
from loadgen.client import open_session
from loadgen.commands.status import TERMINATED
from loadgen.engines import read_model
from loadgen.live import run_once
from loadgen.load import Arrivals, Settings
from loadgen.report import Report
from loadgen.stored_telemetry import read_telemetry
from loadgen.traces import TraceRequest
from loadgen.workload import TrafficClass
from services.engine.profile import Profile
from services.lens.plan import PlanLimits, Queue, Room
from services.lens.sequence import Sequence as Generation
from services.lens.synergy import synergy
from shared.slo import Slo
from shared.step import NO_SLOT, Sampling
from shared.steptime import FEATURES, StepModel
from shared.telemetry import StepReport

STEP_MS = 10.0
PROMPT_TOKENS = 32
PLANS = 2000
READY_WITHIN_S = 60.0
SLO = Slo(name="stream", ttft_s=2.0, tpot_s=0.05)


class Planning(NamedTuple):
    """Durations of single plans."""

    p50_us: float
    p99_us: float


class Streaming(NamedTuple):
    """What a crowd of streams took."""

    streams: int
    tokens_per_s: float
    device_idle_fraction: float
    """Of the time from the first step in which all streams ran to the last."""
    cpu_s_per_1000_tokens: float
    rss_growth_mb: float
    """From when all streams had run for a while to their end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.benchmarks.lens", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="that 64 streams run (%(default)s)")
    parser.add_argument("--sustained", type=float, default=60.0, help="seconds that 256 streams run (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("runs/bench-lens.json"), help="%(default)s")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that no system is left behind
    planning = measure_planning(running=256, waiting=256)
    few = asyncio.run(measure_streaming(64, options.seconds))
    many = asyncio.run(measure_streaming(256, options.sustained))
    report = {
        "plan_p50_us": round(planning.p50_us, 1),
        "plan_p99_us": round(planning.p99_us, 1),
        "device_idle_fraction": round(few.device_idle_fraction, 5),
        "cpu_s_per_1000_tokens": round(few.cpu_s_per_1000_tokens, 4),
        "rss_growth_mb": round(many.rss_growth_mb, 2),
        "streaming": [few._asdict(), many._asdict()],
    }
    write_report(report, options.output)
    return 0


def measure_planning(running: int, waiting: int) -> Planning:
    """Plan after plan of one full engine; its answers go on, and prompts come as others get on."""
    draw = random.Random(0)  # noqa: S311 - lengths, not secrets
    model = StepModel(
        coefficients_s=tuple(
            {"base": 5e-3, "per_token": 2.4e-5, "per_kv_token": 5e-8}.get(name, 0.0) for name in FEATURES
        ),
        floor_s=0.0,
    )
    limits = PlanLimits(max_step_tokens=8192, least_prefill_tokens=16, target_s=0.15)
    answers = [_answering(draw) for _ in range(running)]
    prompts = [_sequence(draw.randint(100, 3000), -draw.random()) for _ in range(waiting)]
    room = Room(slots=running, blocks=10**6, block_tokens=16)
    now_s, durations_s = 0.0, []
    for _ in range(PLANS):
        queue = Queue(answers, prompts, room, now_s, now_s)
        began_s = time.perf_counter()
        allotments = synergy(queue, model, limits)
        durations_s.append(time.perf_counter() - began_s)
        now_s += 0.05
        for sequence, num_tokens, is_prefill, _ in allotments:
            if not is_prefill:
                sequence.advance(num_tokens, now_s)
        prompts = [*prompts[1:], _sequence(draw.randint(100, 3000), now_s)]
    p50_s, p99_s = np.percentile(durations_s, [50, 99])
    return Planning(p50_s * 1e6, p99_s * 1e6)


def _sequence(prompt_tokens: int, arrival_s: float) -> Generation:
    return Generation(
        request_id="",
        prompt_ids=(0,) * prompt_tokens,
        max_output_tokens=10**6,
        sampling=Sampling(seed=0, temperature=0.0),
        end_ids=frozenset(),
        slo=SLO,
        arrival_s=arrival_s,
    )


def _answering(draw: random.Random) -> Generation:
    sequence = _sequence(draw.randint(100, 2000), 0.0)
    sequence.join(0, NO_SLOT, 0)
    sequence.advance(len(sequence.prompt_ids), draw.random() / 10)
    return sequence


async def measure_streaming(streams: int, seconds: float) -> Streaming:
    """So many answers at once for so long, from an engine of even steps."""
    tokens = math.ceil(seconds / STEP_MS * 1e3)
    with tempfile.TemporaryDirectory() as directory:
        profile = Path(directory) / "even-steps.json"
        profile.write_bytes(msgspec.json.encode(_even_steps(streams, tokens)))
        with NativeSystem(Path(directory) / "run", free_ports(), profiles=[str(profile)]) as system:
            system.ready(READY_WITHIN_S)
            (engine,) = system.engines
            lens_url = system.urls[f"lens-{engine}"]
            async with open_session() as session:
                before = await _process_metrics(session, lens_url)
                settled = asyncio.create_task(_settled_memory(session, lens_url, seconds / 3))
                report = await _stream(session, lens_url, streams, tokens)
                after = await _process_metrics(session, lens_url)
                settled_bytes = await settled
            messages = await read_telemetry(system.nats_url, engine, lambda _at_s: True)
    reports = [report for message in messages for report in message.reports if isinstance(report, StepReport)]
    whole = [step for step in reports if step.batch_size == streams]
    first, last = whole[0], whole[-1]
    elapsed_s = last.start_s + last.wall_ms / 1e3 - first.start_s
    busy_s = sum(step.duration_ms for step in reports if first.step <= step.step <= last.step) / 1e3
    cpu_s = after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]
    drawn = report.total.output_tokens
    return Streaming(
        streams=streams,
        tokens_per_s=drawn / report.duration_s,
        device_idle_fraction=1.0 - busy_s / elapsed_s,
        cpu_s_per_1000_tokens=1e3 * cpu_s / drawn,
        rss_growth_mb=(after["process_resident_memory_bytes"] - settled_bytes) / 1e6,
    )


async def _stream(session: aiohttp.ClientSession, url: str, streams: int, tokens: int) -> Report:
    settings = Settings(
        url=url,
        model=await read_model(session, url),
        requests=streams,
        seed=0,
        timeout_s=600.0,
        arrivals=Arrivals.CLOSED,
        rate_per_s=None,
        concurrency=streams,
        trace="even lengths",
        ignore_eos=True,
        classes=(TrafficClass(slo=SLO, share=1.0),),
        say_class=False,
        chat=False,
    )
    asked = (TraceRequest(at_s=None, prompt_tokens=PROMPT_TOKENS, output_tokens=tokens),)
    return await run_once(session, settings, asked, Console(stderr=True))


async def _process_metrics(session: aiohttp.ClientSession, url: str) -> Mapping[str, float]:
    async with session.get(f"{url}/metrics") as response:
        page = await response.text()
    return dict(_samples(page))


def _samples(page: str) -> Iterator[tuple[str, float]]:
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name.startswith("process_"):
                yield sample.name, sample.value


async def _settled_memory(session: aiohttp.ClientSession, url: str, after_s: float) -> float:
    await asyncio.sleep(after_s)
    return (await _process_metrics(session, url))["process_resident_memory_bytes"]


def _even_steps(slots: int, tokens: int) -> Profile:
    block_tokens = 16
    context_tokens = 2 * PROMPT_TOKENS + tokens + block_tokens
    return Profile(
        name="even-steps",
        hardware_class="even-steps",
        model="even-steps",
        source="made up: every step takes as long",
        max_context_tokens=context_tokens,
        max_step_tokens=8192,
        max_slots=slots,
        kv_block_tokens=block_tokens,
        kv_blocks_total=slots * math.ceil(context_tokens / block_tokens),
        tile_tokens=1,
        floor_ms=((1, STEP_MS), (8192, STEP_MS)),
        graph_ms=((1, 0.0), (slots, 0.0)),
        kv_ms_per_token=0.0,
        work_ms_per_token2=0.0,
        mixed_ms=0.0,
        mixed_kv_factor=1.0,
        residuals=(0.0,),
        residuals_source="none",
        block_steps=1,
        stall_share=0.0,
        stall_ms=0.0,
    )


if __name__ == "__main__":
    sys.exit(main())
