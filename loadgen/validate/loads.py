"""The loads of the comparison: lengths like those of a public trace, so that nothing has to be fetched. Pure."""

import math
from typing import NamedTuple

import numpy as np

from loadgen.load import Settings
from loadgen.traces import TraceRequest
from loadgen.workload import TrafficClass
from shared.slo import Slo

P90_DEVIATIONS = 1.2816
"""How far the 90th percentile of a normal distribution is from its middle."""


class Lengths(NamedTuple):
    """Tokens, lognormal; what would be longer than the most is as long as that."""

    p50: float
    p90: float
    most: int

    def draw(self, count: int, rng: np.random.Generator) -> list[int]:
        """So many lengths, each at least 1."""
        deviation = math.log(self.p90 / self.p50) / P90_DEVIATIONS
        drawn = rng.lognormal(math.log(self.p50), deviation, count)
        return [min(max(round(length), 1), self.most) for length in drawn.tolist()]


class Load(NamedTuple):
    """What is asked of a system, in its own time: before `time_scale` stretches it."""

    prompts: Lengths
    outputs: Lengths
    slo: Slo
    rate_per_s: float
    duration_s: float
    warm_up_s: float
    block_s: float | None = None
    """After the warm-up every second block of so long is left out, to fit a profile to; None: nothing is."""
    step_target_s: float = 0.15
    """What lens plans for."""
    time_scale: float = 1.0

    def is_judged(self, at_s: float) -> bool:
        """Whether what arrives at this instant of a run, stretched, is compared."""
        since_warm_up_s = at_s / self.time_scale - self.warm_up_s
        if since_warm_up_s < 0.0:
            return False
        return self.block_s is None or int(since_warm_up_s / self.block_s) % 2 == 1

    def settings(self, url: str, model: str, seed: int) -> Settings:
        """As the load generator takes it."""
        return Settings(
            url=url,
            model=model,
            requests=round(self.rate_per_s * self.duration_s),
            seed=seed,
            timeout_s=300.0,
            rate_per_s=self.rate_per_s,
            trace="lognormal lengths",
            ignore_eos=True,
            classes=(TrafficClass(slo=self.slo, share=1.0),),
            time_scale=self.time_scale,
            warm_up_s=self.warm_up_s,
            say_class=False,
            chat=False,
        )

    def lengths(self, seed: int) -> tuple[TraceRequest, ...]:
        """The trace that the settings sample from."""
        prompts_rng, outputs_rng = np.random.default_rng(seed).spawn(2)
        count = round(self.rate_per_s * self.duration_s)
        pairs = zip(self.prompts.draw(count, prompts_rng), self.outputs.draw(count, outputs_rng), strict=True)
        return tuple(TraceRequest(at_s=None, prompt_tokens=prompt, output_tokens=output) for prompt, output in pairs)


EMULATED = Load(
    # Percentiles of AzureLLMInferenceTrace_conv (Azure/AzurePublicDataset, CC-BY-4.0).
    prompts=Lengths(p50=1020, p90=2734, most=6000),
    outputs=Lengths(p50=129, p90=424, most=800),
    slo=Slo(ttft_s=0.25, tpot_s=0.035),
    rate_per_s=16.0,
    duration_s=100.0,
    warm_up_s=20.0,
    time_scale=3.0,
)
"""For four emulated engines; stretched, so that two cores have time for four lenses."""

LLAMACPP = Load(
    prompts=Lengths(p50=90, p90=220, most=400),
    outputs=Lengths(p50=30, p90=60, most=100),
    slo=Slo(ttft_s=2.0, tpot_s=0.06),
    rate_per_s=0.35,
    duration_s=615.0,
    warm_up_s=15.0,
    block_s=50.0,
)
"""For one engine with a small model on one thread. Blocks alternate, so that a machine that drifts does so in both halves."""
