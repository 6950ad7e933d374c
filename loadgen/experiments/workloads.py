"""The workloads of the published experiments: lengths of public traces, at Poisson arrivals, in classes of targets."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadgen.class_option import mix_of, parse_class
from loadgen.load import Settings, draw_load
from loadgen.sources import Source, read_sources
from loadgen.traces import TraceRequest
from loadgen.workload import Request

CONVERSATION = "trace=AzureLLMInferenceTrace_conv.csv"
CODE = "trace=AzureLLMInferenceTrace_code.csv"
DOCUMENTS = "trace=arxiv_summarization_lengths.csv"

WORKLOADS: Mapping[str, Sequence[str]] = {
    "conversation": (f"chat:ttft_ms=2000,tpot_ms=50,{CONVERSATION},cut_prompt_tokens=7000,cut_output_tokens=600",),
    "code": (f"code:ttft_ms=2000,tpot_ms=50,{CODE},cut_prompt_tokens=7000,cut_output_tokens=600",),
    "documents": (f"document:ttft_ms=5000,tpot_ms=50,{DOCUMENTS},cut_output_tokens=600",),
    "long documents": (
        f"document:ttft_ms=10000,tpot_ms=100,{DOCUMENTS},longer=2,cut_prompt_tokens=7800,cut_output_tokens=600",
    ),
    "mixed": (
        f"chat:share=0.7,ttft_ms=800,tpot_ms=40,{CONVERSATION},cut_prompt_tokens=4000,cut_output_tokens=600",
        f"document:share=0.3,ttft_ms=10000,tpot_ms=100,{DOCUMENTS},longer=2,cut_prompt_tokens=7800,cut_output_tokens=600",
    ),
    "three classes": (
        f"chat:share=0.5,ttft_ms=800,tpot_ms=40,{CONVERSATION},cut_prompt_tokens=4000,cut_output_tokens=600",
        f"code:share=0.3,ttft_ms=2000,tpot_ms=50,{CODE},cut_prompt_tokens=7000,cut_output_tokens=600",
        f"document:share=0.2,ttft_ms=10000,tpot_ms=100,{DOCUMENTS},longer=2,cut_prompt_tokens=7800,cut_output_tokens=600",
    ),
}
"""Each a `--class` of the command line; the files are in one folder."""

SEEDS_APART = 1_000_000
"""Between those of a load's parts, so that they have nothing in common."""


class Part(NamedTuple):
    """What is asked for a while."""

    workload: str
    rate_per_s: float


def draw_parts(traces: Path, parts: Sequence[Part], count: int, seed: int) -> Sequence[Request]:
    """Workloads that follow each other; of `count` requests each has as many.

    Raises:
        BadTrace: as `draw_workload`.
    """
    return joined(
        draw_workload(traces, workload, rate_per_s, count // len(parts), seed + place * SEEDS_APART)
        for place, (workload, rate_per_s) in enumerate(parts)
    )


def joined(loads: Iterable[Sequence[Request]]) -> tuple[Request, ...]:
    """Loads end to end: each begins with the last arrival of the one before."""
    requests: list[Request] = []
    for load in loads:
        begins_s = requests[-1].arrival_s if requests else 0.0
        requests += [msgspec.structs.replace(r, arrival_s=begins_s + r.arrival_s) for r in load]
    return tuple(requests)


def draw_workload(traces: Path, workload: str, rate_per_s: float, count: int, seed: int) -> Sequence[Request]:
    """Requests whose lengths are drawn from a workload's traces, with replacement.

    Raises:
        BadTrace: a trace is not in the folder, or cannot be read.
    """
    settings = Settings(
        url="",
        model="",
        requests=count,
        seed=seed,
        timeout_s=0.0,
        rate_per_s=rate_per_s,
        ignore_eos=True,
        classes=mix_of([parse_class(text) for text in WORKLOADS[workload]]),
    )
    return draw_load(settings, _lengths(traces, workload))


@lru_cache
def _lengths(traces: Path, workload: str) -> tuple[TraceRequest, ...]:
    options = [parse_class(text) for text in WORKLOADS[workload]]
    return read_sources(
        [
            Source(traces / option.trace, slo_class=option.traffic.slo.name, trace=option.traffic.trace)
            for option in options
            if option.trace is not None
        ]
    )
