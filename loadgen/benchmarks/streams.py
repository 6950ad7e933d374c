"""`python -m loadgen.benchmarks.streams`: what the load generator takes for itself at thousands of concurrent streams.

An endpoint of even pace has one core, the generator another. What the endpoint does is known, so every difference from it is
the generator's own error (and the endpoint's, which shares the machine).
"""

import argparse
import asyncio
import os
import platform
import resource
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import numpy as np
from rich.console import Console

from loadgen.benchmarks.processes import even_pace_endpoint
from loadgen.benchmarks.written import write_report
from loadgen.client import open_session
from loadgen.live import run_once
from loadgen.load import Arrivals, Settings
from loadgen.report import LATE_S, Report
from loadgen.workload import TrafficClass
from shared.open_files import allow_many_connections
from shared.slo import Slo

TTFT_MS = 500.0
WORDS = 64


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; returns the exit status, 1 where the streams were not that many at once."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.benchmarks.streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=2000, help="concurrent (%(default)s)")
    parser.add_argument("--gap-ms", type=float, default=200.0, help="between a stream's tokens (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="for which requests arrive (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("runs/bench-loadgen.json"), help="%(default)s")
    options = parser.parse_args(arguments)
    allow_many_connections()
    cores = sorted(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory() as directory,
        even_pace_endpoint(Path(directory), cores[0], TTFT_MS, options.gap_ms) as url,
    ):
        os.sched_setaffinity(0, {cores[-1]})
        report, most_open = asyncio.run(_measure(url, options.streams, options.gap_ms, options.seconds))
    figures = _figures(report, most_open, options.gap_ms)
    write_report(figures, options.output)
    return 0 if most_open >= options.streams and not report.problems else 1


async def _measure(url: str, streams: int, gap_ms: float, seconds: float) -> tuple[Report, int]:
    """Arrivals at the rate that keeps a few more streams open, each of them as long as the others."""
    lasts_s = (TTFT_MS + gap_ms * (WORDS - 1)) / 1e3
    rate_per_s = 1.05 * streams / lasts_s
    traffic = TrafficClass(slo=Slo(name="stream"), share=1.0, max_tokens=(WORDS, WORDS))
    settings = Settings(
        url=url,
        model="even-pace",
        requests=round(rate_per_s * (lasts_s + seconds)),
        seed=0,
        timeout_s=120.0,
        arrivals=Arrivals.CONSTANT,
        rate_per_s=rate_per_s,
        classes=(traffic,),
        warm_up_s=lasts_s,
    )
    async with open_session() as session:
        report = await run_once(session, settings, (), Console(stderr=True))
        return report, await _most_open(session, url)


async def _most_open(session: aiohttp.ClientSession, url: str) -> int:
    async with session.get(f"{url}/most-open") as response:
        return int((await response.json())["most_open"])


def _figures(report: Report, most_open: int, gap_ms: float) -> dict[str, object]:
    own = report.own_load
    assert own is not None, "a live run measures it"
    events = sum(len(outcome.gaps) // 4 + 3 for outcome in report.outcomes)
    processor_s = own.processor_share * report.duration_s
    ttft_errors_ms = [1e3 * (outcome.ttft_s or 0.0) - TTFT_MS for outcome in report.scored]
    gap_errors_ms = np.abs(1e3 * np.concatenate([outcome.itl_s for outcome in report.scored]) - gap_ms)
    return {
        "concurrent_streams": most_open,
        "requests": len(report.outcomes),
        "requests_per_s": report.settings.rate_per_s,
        "failed": len(report.outcomes) - sum(outcome.problem is None for outcome in report.outcomes),
        "events_per_s": events / report.duration_s,
        "processor_share": own.processor_share,
        "processor_s_per_1000_events": 1e3 * processor_s / events,
        "resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        f"sent_over_{LATE_S * 1e3:.0f}_ms_late": report.late_sends,
        "latest_send_ms": 1e3 * report.latest_send_s,
        "event_loop_late_p99_ms": 1e3 * own.lag_p99_s,
        "event_loop_late_worst_ms": 1e3 * own.lag_worst_s,
        "ttft_error_ms": dict(zip(("p50", "p99"), np.percentile(ttft_errors_ms, (50, 99)).tolist(), strict=True)),
        "gap_error_ms": dict(zip(("p50", "p99"), np.percentile(gap_errors_ms, (50, 99)).tolist(), strict=True)),
        "overloads": list(report.overloads),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one for the generator; Python {platform.python_version()}",
    }


if __name__ == "__main__":
    sys.exit(main())
