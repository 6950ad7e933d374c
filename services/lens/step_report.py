"""The telemetry of one step: what was planned, foreseen and measured."""

from services.lens.scheduler import SentStep
from shared.step import StepResult
from shared.telemetry import StepReport


def step_report(sent: SentStep, result: StepResult, *, start_s: float, wall_s: float) -> StepReport:
    """The telemetry of one step; times in seconds, `start_s` counted from the start of lens."""
    shape = sent.shape
    decode_tokens = sum(not allotment.is_prefill for allotment in sent.allotments)
    return StepReport(
        step=sent.plan.step,
        start_s=round(start_s, 6),
        batch_size=int(shape.batch_size),
        prefill_seqs=int(shape.prefill_seqs),
        prefill_tokens=int(shape.num_tokens) - decode_tokens,
        decode_tokens=decode_tokens,
        kv_tokens=int(shape.kv_tokens),
        attention_work=float(shape.attention_work),
        planned_ms=sent.target_s * 1e3,
        predicted_ms=round(sent.predicted_s * 1e3, 4),
        duration_ms=round(result.duration_s * 1e3, 4),
        wall_ms=round(wall_s * 1e3, 4),
    )
