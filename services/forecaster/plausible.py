"""Which step reports an engine could have sent: the others are set aside before they can spoil a model."""

from shared.telemetry import StepReport

LONGEST_STEP_MS = 1e6
LARGEST_COUNT = 1e13
"""Above what any engine runs, and far below what would overflow in the regressor."""


def problem_of(report: StepReport) -> str | None:
    """What is wrong with a report, naming the field; None where nothing is."""
    if not 0.0 < report.duration_ms < LONGEST_STEP_MS:
        return f"duration_ms is {report.duration_ms}"
    for name in ("prefill_seqs", "prefill_tokens", "decode_tokens", "kv_tokens", "attention_work"):
        value = getattr(report, name)
        if not 0 <= value < LARGEST_COUNT:
            return f"{name} is {value}"
    if not 0 < report.batch_size <= report.prefill_tokens + report.decode_tokens:
        return f"batch_size is {report.batch_size} with {report.prefill_tokens + report.decode_tokens} tokens"
    if report.prefill_seqs > min(report.batch_size, report.prefill_tokens):
        return f"prefill_seqs is {report.prefill_seqs}"
    return None
