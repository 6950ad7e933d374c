"""Service-level objectives: targets of a request, where they come from, and whether they were met.

TTFT is arrival to first token; TPOT is (E2E − TTFT)/(output tokens − 1); E2E is arrival to last token.
"""

import math
from collections.abc import Mapping

import msgspec

from shared.errors import BadRequest

TTFT_HEADER = "x-slo-ttft-ms"
TPOT_HEADER = "x-slo-tpot-ms"
E2E_HEADER = "x-slo-e2e-ms"
CLASS_HEADER = "x-slo-class"
_ALIASES = {TTFT_HEADER: "x-llm-d-slo-ttft-ms", TPOT_HEADER: "x-llm-d-slo-tpot-ms", E2E_HEADER: "x-llm-d-slo-e2e-ms"}
LEAST_TARGET_MS = 0.001
"""Targets travel with so many digits: a smaller one would arrive as none."""
LONGEST_TARGET_MS = 24 * 3600 * 1e3

DEFAULT_CLASS = "default"
LONGEST_CLASS_CHARACTERS = 64


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """Targets in seconds; None promises nothing."""

    name: str = DEFAULT_CLASS
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None

    @property
    def promises(self) -> bool:
        """Whether there is any target."""
        return (self.ttft_s, self.tpot_s, self.e2e_s) != (None, None, None)

    def met(self, *, ttft_s: float, tpot_s: float | None, e2e_s: float) -> bool:
        """Whether a finished request kept all its targets; an answer of one token has no TPOT to miss."""
        return (
            (self.ttft_s is None or ttft_s <= self.ttft_s)
            and (self.tpot_s is None or tpot_s is None or tpot_s <= self.tpot_s)
            and (self.e2e_s is None or e2e_s <= self.e2e_s)
        )


def tpot_s(*, ttft_s: float, e2e_s: float, output_tokens: int) -> float | None:
    """Time per output token after the first; None where there was no second token."""
    return (e2e_s - ttft_s) / (output_tokens - 1) if output_tokens > 1 else None


def slo_from_headers(
    headers: Mapping[str, str], classes: Mapping[str, Slo] | None = None, *, unnamed: str = DEFAULT_CLASS
) -> Slo:
    """The targets of a request: its class, with any target that it names itself in place of the class's.

    Args:
        headers: by lower-case name.
        classes: what is configured, by class name. None where the router before has resolved the class already: then
            it is only a label.
        unnamed: the class of a request that names none.

    Raises:
        BadRequest: a target is no number of milliseconds within the bounds, or the class is not configured.
    """
    name = headers.get(CLASS_HEADER, unnamed)
    if len(name) > LONGEST_CLASS_CHARACTERS:
        raise BadRequest(f"{CLASS_HEADER} is longer than {LONGEST_CLASS_CHARACTERS} characters", param=CLASS_HEADER)
    if classes is not None and name not in (DEFAULT_CLASS, *classes):
        there = sorted({DEFAULT_CLASS, *classes})
        raise BadRequest(f"no SLO class {name!r} is configured; there are {there}", param=CLASS_HEADER)
    base = (classes or {}).get(name, Slo())
    return Slo(
        name=name,
        ttft_s=_target_s(headers, TTFT_HEADER, base.ttft_s),
        tpot_s=_target_s(headers, TPOT_HEADER, base.tpot_s),
        e2e_s=_target_s(headers, E2E_HEADER, base.e2e_s),
    )


def headers_from_slo(slo: Slo) -> dict[str, str]:
    """The headers that say these targets to the next service."""
    targets = {TTFT_HEADER: slo.ttft_s, TPOT_HEADER: slo.tpot_s, E2E_HEADER: slo.e2e_s}
    return {header: f"{target * 1e3:.3f}" for header, target in targets.items() if target is not None}


def _target_s(headers: Mapping[str, str], header: str, default_s: float | None) -> float | None:
    text = headers.get(header) or headers.get(_ALIASES[header])
    if text is None:
        return default_s
    try:
        target_ms = float(text)
    except ValueError:
        target_ms = math.nan
    if not LEAST_TARGET_MS <= target_ms <= LONGEST_TARGET_MS:
        wanted = f"a number of milliseconds from {LEAST_TARGET_MS:g} to {LONGEST_TARGET_MS:.0f}"
        raise BadRequest(f"{header} must be {wanted}, not {text[:32]!r}", param=header)
    return target_ms / 1e3
