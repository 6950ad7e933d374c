"""Telemetry, lens → NATS: every step, every finished request, and a heartbeat that says idle.

Durations travel, clock readings do not: `start_s` counts from the start of the lens that reports and orders its steps;
it is never compared with another host's clock.
"""

from enum import StrEnum

import msgspec

from shared.steptime import StepShape
from shared.wire import Message


class StepReport(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """One engine step, as planned, predicted and measured."""

    step: int
    start_s: float
    batch_size: int
    """Sequences in the step."""
    prefill_seqs: int
    prefill_tokens: int
    decode_tokens: int
    kv_tokens: int
    """Tokens already in the cache, summed over the batch: what attention reads."""
    attention_work: float
    """Σ cᵢ(kᵢ + cᵢ/2) over prefill chunks, tokens²: chunk of cᵢ tokens behind kᵢ in the cache."""
    planned_ms: float
    """The longest step that routers were told to reckon with; what bounded this one is in no report."""
    predicted_ms: float
    """The step time that lens's model foresaw for this very batch."""
    duration_ms: float
    """Measured in the executor."""
    wall_ms: float
    """Measured by lens: from sending, or from the answer before if that came later, to the answer."""

    @property
    def shape(self) -> StepShape:
        """The step as the step model sees it."""
        return StepShape(
            batch_size=self.batch_size,
            num_tokens=self.prefill_tokens + self.decode_tokens,
            kv_tokens=self.kv_tokens,
            attention_work=self.attention_work,
            prefill_seqs=self.prefill_seqs,
        )


class IdleReport(msgspec.Struct, frozen=True, kw_only=True, tag="idle"):
    """A heartbeat of an engine without work; never zeros that look like a fast engine."""

    idle_s: float


class Outcome(StrEnum):
    """How a request ended."""

    STOP = "stop"
    LENGTH = "length"
    CANCELLED = "cancelled"
    FAILED = "failed"


class RequestReport(msgspec.Struct, frozen=True, kw_only=True, tag="request"):
    """One finished request: what was promised, foreseen and done. A time is None where it never came to be."""

    request_id: str
    slo_class: str
    outcome: Outcome
    prompt_tokens: int
    output_tokens: int
    target_ttft_ms: float | None = None
    target_tpot_ms: float | None = None
    target_e2e_ms: float | None = None
    predicted_ttft_ms: float | None = None
    predicted_tpot_ms: float | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    e2e_ms: float
    relegated: bool = False


Report = StepReport | IdleReport | RequestReport


class Telemetry(Message, frozen=True, kw_only=True):
    """One NATS message: reports of one engine in the order of events, on their way within 20 ms."""

    engine: str
    lens: str
    """A name for this start of lens; `sequence` counts its messages from 1, so that a reader sees what was lost."""
    sequence: int
    reports: tuple[Report, ...]
    kind: str = ""
    """Hardware class and model: engines of one kind can be expected to be alike. Empty where not known."""
