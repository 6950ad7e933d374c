"""Which step reports an engine could have sent: the others are set aside before they can spoil a model."""

from shared.telemetry import StepReport

SHORTEST_STEP_MS, LONGEST_STEP_MS = 1e-3, 1e6
MOST_TOKENS = 1e8
"""In a step or in a cache: above what any engine has, and far below what would spoil the regressor's arithmetic."""
MOST_WORK = 1e13


def problem_of(report: StepReport) -> str | None:
    """What is wrong with a report, naming the field; None where nothing is."""
    if not SHORTEST_STEP_MS <= report.duration_ms < LONGEST_STEP_MS:
        return f"duration_ms is {report.duration_ms}"
    for name in ("prefill_seqs", "prefill_tokens", "decode_tokens", "kv_tokens"):
        if not 0 <= getattr(report, name) < MOST_TOKENS:
            return f"{name} is {getattr(report, name)}"
    if not 0 <= report.attention_work < MOST_WORK:
        return f"attention_work is {report.attention_work}"
    if not 0 < report.batch_size <= report.prefill_tokens + report.decode_tokens:
        return f"batch_size is {report.batch_size} with {report.prefill_tokens + report.decode_tokens} tokens"
    if report.prefill_seqs > min(report.batch_size, report.prefill_tokens):
        return f"prefill_seqs is {report.prefill_seqs}"
    if not report.prefill_seqs and (report.prefill_tokens or report.attention_work):
        return f"prefill_tokens is {report.prefill_tokens} and attention_work {report.attention_work} without a prefill"
    return None
