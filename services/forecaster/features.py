"""From a step's report to the features that the regressor learns from; the terms themselves are `shared.steptime`'s."""

from collections.abc import Mapping

from shared.steptime import FEATURES, feature_vector
from shared.telemetry import StepReport

FEATURE_SCALES: Mapping[str, float] = {
    "per_sequence": 32.0,
    "per_token": 256.0,
    "per_kv_token": 1e5,
    "per_attention_work": 1e6,
    "per_token_beyond_knee": 256.0,
}
"""Magnitudes in a busy engine's steps: they bring features that differ by 10⁶ to the order of 1."""

LONGEST_STEP_MS = 1e6
LARGEST_TERM = 1e13
"""Above what any engine runs, and far below what would overflow in the regressor."""


def features(report: StepReport) -> dict[str, float] | None:
    """The step's features by name; None where the report does not describe a step that an engine could have run."""
    terms: list[float] = feature_vector(report.shape).tolist()
    ran_tokens = report.prefill_tokens + report.decode_tokens > 0
    if not ran_tokens or min(terms) < 0.0 or max(terms) > LARGEST_TERM:
        return None
    if not 0.0 < report.duration_ms < LONGEST_STEP_MS:
        return None
    return dict(zip(FEATURES, terms, strict=True))
