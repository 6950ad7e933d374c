"""How far prism's predictions can be trusted on a real system: times and chances told at dispatch beside what clients then saw.

Prism, lenses, forecaster, NATS and Redis as they are; the engines are emulated GPUs of three kinds, in stretched time, so that the
two cores of a small machine have time to spare. A first load, which does not count, lets everybody learn; then requests of mixed
sizes arrive at random, well below what the engines can keep promises to. Predicted times are those of prism's headers.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from infra.native.ports import free_ports
from infra.native.system import NativeSystem
from loadgen.arguments import positive_float
from loadgen.client import open_session
from loadgen.engines import read_model
from loadgen.experiments.live_loads import Clients, LiveLoad
from loadgen.experiments.live_runs import run_routed
from loadgen.outcome import Outcome
from loadgen.reliability import BINS, reliability
from loadgen.report import Report
from loadgen.validate.loads import Lengths
from loadgen.workload import TrafficClass
from shared.slo import Slo

PROFILES = ("h100-llama3.1-8b", "a100-llama3.1-8b", "2xa6000-llama3.1-8b")
CLIENTS = (
    Clients(
        TrafficClass(slo=Slo(name="question", ttft_s=0.5, tpot_s=0.04), share=0.5),
        prompts=Lengths(p50=150, p90=500, most=1200),
        outputs=Lengths(p50=300, p90=600, most=800),
    ),
    Clients(
        TrafficClass(slo=Slo(name="chat", ttft_s=0.8, tpot_s=0.04), share=0.4),
        prompts=Lengths(p50=600, p90=1500, most=3000),
        outputs=Lengths(p50=250, p90=500, most=700),
    ),
    Clients(
        TrafficClass(slo=Slo(name="summary", ttft_s=3.0, tpot_s=0.06), share=0.1),
        prompts=Lengths(p50=2000, p90=3500, most=5000),
        outputs=Lengths(p50=200, p90=400, most=600),
    ),
)
"""Answers of some hundred tokens: what a token takes on average depends on the prompts that come meanwhile, which nobody foresees.
The fewer
and larger they are, the less can be known; with documents among them the error is larger than here."""
CAPACITY_PER_S = 16.0
"""At which 90 % of these requests keep their promises, with these engines, in the simulator."""
LOAD = 0.4
TIME_SCALE = 3.0
WARM_UP_SEED, SEED = 1, 2
READY_WITHIN_S = 120.0
PROMISES, FORGONE, REGRETTED = (
    "prism_promises_total",
    "prism_forgone_promises_total",
    "prism_regretted_promises_total",
)


class Times(NamedTuple):
    """Of one latency: how what came compares with what was foreseen."""

    error_p50: float
    """Median of |actual − predicted| ÷ actual."""
    ratio_p10: float
    ratio_p50: float
    """Of actual ÷ predicted: what is above 1 was foreseen too short."""
    ratio_p90: float
    actual_p50_ms: float


class _Sent(NamedTuple):
    report: Report
    promises: Mapping[str, float]
    """By metric of prism, what was added to it."""


def measure_predictions(
    *, seconds: float, warm_up_s: float, load: float = LOAD, time_scale: float = TIME_SCALE
) -> Mapping[str, object]:
    """All figures of the predictions.

    Args:
        seconds: for which requests arrive that count.
        warm_up_s: and before these, those that do not.
        load: in capacities.
        time_scale: so many times longer take the engines' steps.
    """
    rate_per_s = load * CAPACITY_PER_S
    settings = {"ENGINE_TIME_SCALE": str(time_scale)}
    with (
        tempfile.TemporaryDirectory() as directory,
        NativeSystem(Path(directory), free_ports(), profiles=PROFILES, settings=settings) as system,
    ):
        system.ready(READY_WITHIN_S)
        sent = asyncio.run(_send(system.url, rate_per_s, warm_up_s, seconds, time_scale))
    return {**figures(sent.report.scored), **_shares(sent.promises), **_circumstances(sent.report, load)}


async def _send(url: str, rate_per_s: float, warm_up_s: float, seconds: float, time_scale: float) -> _Sent:
    async with open_session() as session:
        model = await read_model(session, url)
        await _run(session, url, model, LiveLoad(CLIENTS, warm_up_s / time_scale, time_scale), rate_per_s, WARM_UP_SEED)
        before = await _promises(session, url)
        load = LiveLoad(CLIENTS, seconds / time_scale, time_scale)
        report = await _run(session, url, model, load, rate_per_s, SEED)
        after = await _promises(session, url)
    return _Sent(report, {name: after[name] - before[name] for name in after})


async def _run(
    session: aiohttp.ClientSession, url: str, model: str, load: LiveLoad, rate_per_s: float, seed: int
) -> Report:
    requests = load.draw(rate_per_s, seed)
    return await run_routed(session, url, load.settings(url, model, rate_per_s, seed, requests), requests)


async def _promises(session: aiohttp.ClientSession, url: str) -> Mapping[str, float]:
    """Prism's counts of promises, over all their labels."""
    async with session.get(f"{url}/metrics", raise_for_status=True) as response:
        page = await response.text()
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return {
        name: sum(sample.value for sample in samples if sample.name == name) for name in (PROMISES, FORGONE, REGRETTED)
    }


def figures(outcomes: Sequence[Outcome]) -> Mapping[str, Any]:
    """What the predictions of a run are worth."""
    well = [outcome for outcome in outcomes if outcome.problem is None]
    ttft, tpot = _ttft(well), _tpot(well)
    believed = reliability((outcome.p_met, outcome.attained) for outcome in outcomes)
    return {
        "ttft_mape": None if ttft is None else ttft.error_p50,
        "tpot_mape": None if tpot is None else tpot.error_p50,
        "brier": None if believed is None else round(believed.brier, 5),
        "reliability": []
        if believed is None
        else [
            {
                "p_met": [tenth / BINS, (tenth + 1) / BINS],
                "requests": each.count,
                "foreseen": round(each.foreseen, 4),
                "met": round(each.kept * each.count),
            }
            for tenth, each in believed.bins.items()
        ],
        "predicted_requests": sum(outcome.predicted_ttft_s is not None for outcome in well),
        "requests": len(outcomes),
        "ended_well": len(well),
        "attainment": round(sum(outcome.attained for outcome in outcomes) / len(outcomes), 4),
        "predictions": [
            {"engine": engine, "slo_class": slo_class, "requests": len(members), **_told(members)}
            for (engine, slo_class), members in _groups(well)
        ],
    }


def _groups(outcomes: Sequence[Outcome]) -> Iterator[tuple[tuple[str, str], Sequence[Outcome]]]:
    """All, each engine's, each class's."""
    yield ("all", "all"), outcomes
    for engine in sorted({outcome.engine or "none" for outcome in outcomes}):
        yield (engine, "all"), [outcome for outcome in outcomes if outcome.engine == engine]
    for name in sorted({outcome.request.slo.name for outcome in outcomes}):
        yield ("all", name), [outcome for outcome in outcomes if outcome.request.slo.name == name]


def _told(outcomes: Sequence[Outcome]) -> Mapping[str, object]:
    return {
        name: None if times is None else times._asdict()
        for name, times in (("ttft", _ttft(outcomes)), ("tpot", _tpot(outcomes)))
    }


def _ttft(outcomes: Iterable[Outcome]) -> Times | None:
    return _times((outcome.predicted_ttft_s, outcome.ttft_s) for outcome in outcomes)


def _tpot(outcomes: Iterable[Outcome]) -> Times | None:
    return _times((outcome.predicted_tpot_s, outcome.tpot_s) for outcome in outcomes)


def _times(pairs: Iterable[tuple[float | None, float | None]]) -> Times | None:
    """Of a latency as foreseen and as it came; None where there are no such pairs."""
    known = [(predicted_s, actual_s) for predicted_s, actual_s in pairs if predicted_s and actual_s]
    if not known:
        return None
    predicted_s, actual_s = np.array(known).T
    error = float(np.median(np.abs(actual_s - predicted_s) / actual_s))
    p10, p50, p90 = (round(ratio, 4) for ratio in np.percentile(actual_s / predicted_s, (10, 50, 90)).tolist())
    return Times(
        error_p50=round(error, 4),
        ratio_p10=p10,
        ratio_p50=p50,
        ratio_p90=p90,
        actual_p50_ms=round(1e3 * float(np.median(actual_s)), 3),
    )


def _shares(promises: Mapping[str, float]) -> Mapping[str, float | None]:
    """Of all promises, as many are expected to have been kept by other picks; None where there were none."""
    made = promises[PROMISES]
    forgone, regretted = (round(promises[name] / made, 5) if made else None for name in (FORGONE, REGRETTED))
    return {"forgone_share": forgone, "regretted_share": regretted}


def _circumstances(report: Report, load: float) -> Mapping[str, object]:
    return {
        "prediction_load": load,
        "prediction_rate_per_s": report.settings.rate_per_s,
        "prediction_time_scale": report.settings.time_scale,
        "prediction_engines": list(PROFILES),
        "prediction_overloads": list(report.overloads),
        "prediction_lateness": [msgspec.structs.asdict(each) for each in report.lateness],
        "prediction_own_load": None if report.own_load is None else msgspec.structs.asdict(report.own_load),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told to `measure_predictions`."""
    parser.add_argument("--predict-s", type=positive_float, default=240.0, help="of load that counts (%(default)s)")
    parser.add_argument("--predict-warm-up-s", type=positive_float, default=60.0, help="of load before (%(default)s)")
    parser.add_argument("--predict-load", type=positive_float, default=LOAD, help="in capacities (%(default)s)")
    parser.add_argument(
        "--predict-time-scale", type=positive_float, default=TIME_SCALE, help="of the engines' steps (%(default)s)"
    )
