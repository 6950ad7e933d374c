"""The loads of the live experiment: two kinds of clients, lengths like those of public traces, nothing to be fetched. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from loadgen.arrivals import poisson_arrivals
from loadgen.load import Settings
from loadgen.traces import TraceRequest
from loadgen.validate.loads import Lengths
from loadgen.workload import Request, TrafficClass, draw_classes, draw_trace_requests, stretched
from shared.slo import Slo

TIMEOUT_S = 120.0
"""For a whole answer."""


class Clients(NamedTuple):
    """One kind of them."""

    traffic: TrafficClass
    prompts: Lengths
    outputs: Lengths


class LiveLoad(NamedTuple):
    """What is asked of an engine, in its own time: before `time_scale` stretches it."""

    clients: Sequence[Clients]
    duration_s: float
    time_scale: float = 1.0

    def draw(self, rate_per_s: float, seed: int) -> tuple[Request, ...]:
        """The requests of a run, with their texts; at least one."""
        count = max(round(rate_per_s * self.duration_s), 1)
        # At another rate all is another, texts too: an engine that keeps text it has seen must not find it there again.
        drawn_by = np.random.default_rng((seed, round(1e3 * rate_per_s)))
        arrivals_rng, classes_rng, lengths_rng, text_rng = drawn_by.spawn(4)
        mix = [kind.traffic for kind in self.clients]
        drawn = {kind.traffic.slo.name: _lengths(kind, count, lengths_rng) for kind in self.clients}
        asked = [
            drawn[traffic.slo.name][number] for number, traffic in enumerate(draw_classes(mix, count, classes_rng))
        ]
        requests = draw_trace_requests(poisson_arrivals(rate_per_s, count, arrivals_rng), asked, text_rng, mix)
        return tuple(
            stretched(msgspec.structs.replace(request, prompt=request.prompt_text), self.time_scale)
            for request in requests
        )

    def settings(self, url: str, model: str, rate_per_s: float, seed: int, requests: Sequence[Request]) -> Settings:
        """What a run of these requests was told."""
        return Settings(
            url=url,
            model=model,
            requests=len(requests),
            seed=seed,
            timeout_s=TIMEOUT_S,
            rate_per_s=rate_per_s,
            trace="lognormal lengths",
            ignore_eos=True,
            classes=tuple(kind.traffic for kind in self.clients),
            time_scale=self.time_scale,
            say_class=False,
            chat=False,
        )


def _lengths(clients: Clients, count: int, rng: np.random.Generator) -> Sequence[TraceRequest]:
    name = clients.traffic.slo.name
    pairs = zip(clients.prompts.draw(count, rng), clients.outputs.draw(count, rng), strict=True)
    return [TraceRequest(at_s=None, prompt_tokens=p, output_tokens=o, slo_class=name) for p, o in pairs]


# Percentiles of AzureLLMInferenceTrace_conv (Azure/AzurePublicDataset, CC-BY-4.0), and of arXiv papers of double length.
_CHAT = Clients(
    TrafficClass(slo=Slo(name="chat", ttft_s=0.8, tpot_s=0.04), share=0.7),
    prompts=Lengths(p50=1020, p90=2734, most=4000),
    outputs=Lengths(p50=129, p90=424, most=600),
)
_DOCUMENT = Clients(
    TrafficClass(slo=Slo(name="document", ttft_s=10.0, tpot_s=0.1), share=0.3),
    prompts=Lengths(p50=5460, p90=7404, most=7800),
    outputs=Lengths(p50=167, p90=372, most=600),
)

EMULATED = LiveLoad(clients=(_CHAT, _DOCUMENT), duration_s=20.0, time_scale=2.0)
"""The mixed classes of the simulated experiment."""

_SHORT = Lengths(p50=65, p90=150, most=250)

FLEET = LiveLoad(
    clients=(
        _CHAT._replace(outputs=_SHORT),
        # A target that is shorter than the run: of a longer one no queue would come near in that time.
        _DOCUMENT._replace(
            traffic=TrafficClass(slo=Slo(name="document", ttft_s=4.0, tpot_s=0.1), share=0.3), outputs=_SHORT
        ),
    ),
    duration_s=5.0,
    time_scale=3.0,
)
"""The same for several engines, with short answers: a run lasts until the last of them ends."""

LLAMACPP = LiveLoad(
    clients=(
        Clients(
            TrafficClass(slo=Slo(name="chat", ttft_s=1.5, tpot_s=0.25), share=0.8),
            prompts=Lengths(p50=20, p90=40, most=64),
            outputs=Lengths(p50=10, p90=16, most=24),
        ),
        Clients(
            TrafficClass(slo=Slo(name="document", ttft_s=10.0, tpot_s=0.6), share=0.2),
            prompts=Lengths(p50=120, p90=260, most=400),
            outputs=Lengths(p50=10, p90=16, most=24),
        ),
    ),
    duration_s=12.0,
)
"""The same in small, for a model of 135 million parameters on one thread: it takes 8 ms a prompt token, so seconds for a long one."""
