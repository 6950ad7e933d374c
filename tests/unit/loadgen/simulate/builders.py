"""Simulated fleets small enough to be followed by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from loadgen.outcome import Outcome
from loadgen.simulate.hardware import Hardware, Law, hardware_by_law
from loadgen.simulate.run import Knows, Scenario, simulate
from loadgen.synthetic import Synthetic
from loadgen.workload import Request
from shared.slo import Slo

NO_NOISE: Mapping[str, float] = {"deviation": 0.0, "stall_share": 0.0, "stall_ms": 0.0}


def hardware(
    name: str = "plain", *, base_ms: float = 10.0, noise: Mapping[str, float] = NO_NOISE, **changes: int
) -> Hardware:
    """10 ms a step, 1 ms a sequence and 0.1 ms a token, exactly."""
    return hardware_by_law(name, Law(base_ms, 1.0, 0.1, 0.0, **noise), **{"kv_tokens": 100_000, **changes})


def request(
    arrival_s: float = 0.0, *, prompt_tokens: int = 100, output_tokens: int = 3, slo: Slo | None = None
) -> Request:
    return Request(
        arrival_s=arrival_s,
        prompt=Synthetic(tokens=prompt_tokens),
        max_tokens=output_tokens,
        slo=slo or Slo(ttft_s=1.0, tpot_s=0.05),
        ignore_eos=True,
    )


def scenario(*engines: str, of: Hardware | None = None, **changes: Any) -> Scenario:
    """One kind of engine, whose times are known, under a budget of 512 tokens and round robin unless told otherwise."""
    known: dict[str, Any] = {"planner": "static-512", "policy": "round-robin", "knows": Knows.TRUE, "instant": True}
    return Scenario(
        engines=dict.fromkeys(engines or ("a",), "plain"), hardware={"plain": of or hardware()}, **{**known, **changes}
    )


def outcomes(of: Scenario, requests: Sequence[Request], seed: int = 0) -> Sequence[Outcome]:
    return simulate(of, requests, seed).outcomes
