"""Outcomes for tests: a request that ended well, unless told otherwise."""

from typing import Any

from loadgen.outcome import Outcome
from loadgen.workload import Request
from shared.slo import Slo

PROMISE = Slo(name="interactive", ttft_s=1.0, tpot_s=0.1)


def an_outcome(*, slo: Slo = PROMISE, arrival_s: float = 0.0, **fields: Any) -> Outcome:
    """Eleven tokens, the first after 0.5 s, one each 0.05 s."""
    request = Request(arrival_s=arrival_s, prompt="Why do cats purr?", max_tokens=16, slo=slo)
    well: dict[str, Any] = {
        "sent_s": arrival_s,
        "status": 200,
        "engine": "large",
        "predicted_ttft_s": 0.4,
        "predicted_tpot_s": 0.05,
        "ttft_s": 0.5,
        "e2e_s": 1.0,
        "text": "They are content.",
        "finish_reason": "stop",
        "prompt_tokens": 12,
        "output_tokens": 11,
    }
    return Outcome(request=request, **{**well, **fields})
