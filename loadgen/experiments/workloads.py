"""The workloads of the published experiments: lengths of public traces, at Poisson arrivals, in classes of targets."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from loadgen.arrivals import poisson_arrivals
from loadgen.sampling import Sample, sampled
from loadgen.traces import TraceRequest, read_trace
from loadgen.workload import Request, TrafficClass, draw_trace_requests
from shared.slo import Slo

CONVERSATION = "AzureLLMInferenceTrace_conv.csv"
CODE = "AzureLLMInferenceTrace_code.csv"
DOCUMENTS = "arxiv_summarization_lengths.csv"
MOST_OUTPUT_TOKENS = 600


class Part(NamedTuple):
    """One class of a workload's requests."""

    trace: str
    slo: Slo
    share: float = 1.0
    most_prompt_tokens: int = 7000
    """Longer ones are cut."""
    longer: int = 1
    """So many times the trace's prompts."""


WORKLOADS: Mapping[str, Sequence[Part]] = {
    "conversation": (Part(CONVERSATION, Slo(name="chat", ttft_s=2.0, tpot_s=0.05)),),
    "code": (Part(CODE, Slo(name="code", ttft_s=2.0, tpot_s=0.05)),),
    "mixed": (
        Part(CONVERSATION, Slo(name="chat", ttft_s=0.8, tpot_s=0.04), 0.7, 4000),
        Part(DOCUMENTS, Slo(name="document", ttft_s=10.0, tpot_s=0.1), 0.3, 7800, 2),
    ),
}


def draw_workload(traces: Path, workload: str, rate_per_s: float, count: int, seed: int) -> Sequence[Request]:
    """Requests whose lengths are drawn from a workload's traces, with replacement.

    Raises:
        BadTrace: a trace is not in the folder, or cannot be read.
    """
    parts = WORKLOADS[workload]
    arrivals_rng, parts_rng, lengths_rng, requests_rng = np.random.default_rng(seed).spawn(4)
    arrivals_s = poisson_arrivals(rate_per_s, count, arrivals_rng)
    chosen = parts_rng.choice(len(parts), count, p=[part.share for part in parts]).tolist()
    asked = [sampled(_lengths(traces, part), count, Sample.DRAW, lengths_rng) for part in parts]
    return tuple(
        draw_trace_requests((arrival_s,), (asked[kind][number],), requests_rng, _only(parts[kind]))[0]
        for number, (arrival_s, kind) in enumerate(zip(arrivals_s, chosen, strict=True))
    )


def _only(part: Part) -> tuple[TrafficClass, ...]:
    return (TrafficClass(slo=part.slo, share=1.0),)


@lru_cache
def _lengths(traces: Path, part: Part) -> tuple[TraceRequest, ...]:
    return tuple(
        msgspec.structs.replace(
            request,
            prompt_tokens=min(part.longer * request.prompt_tokens, part.most_prompt_tokens),
            output_tokens=min(request.output_tokens, MOST_OUTPUT_TOKENS),
        )
        for request in read_trace(traces / part.trace)
    )
