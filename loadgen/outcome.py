"""What became of one request, as its client saw it. Pure."""

from enum import StrEnum

import msgspec
import numpy as np
import numpy.typing as npt

from loadgen.workload import Request
from shared import slo


class FinishReason(StrEnum):
    """Why an answer ended that ended well."""

    STOP = "stop"
    LENGTH = "length"


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Times are from sending; what never came to be is None."""

    request: Request
    sent_s: float
    """From the start of the run; later than `request.arrival_s` where the generator could not keep up."""
    attempts: int = 1
    """How often the client sent it; all of them are one request, and times count from the first."""
    status: int | None = None
    error: str | None = None
    engine: str | None = None
    route_reason: str | None = None
    predicted_ttft_s: float | None = None
    predicted_tpot_s: float | None = None
    p_met: float | None = None
    """The chance that the router gave it to meet all its targets."""
    ttft_s: float | None = None
    e2e_s: float | None = None
    """To the event that says why the answer ended."""
    gaps: bytes = b""
    """Between the events that brought text, in seconds: 32-bit floats, the lowest byte first."""
    text: str = ""
    """No more of it than a report shows."""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def late_s(self) -> float:
        """How long after its arrival the request was sent."""
        return self.sent_s - self.request.arrival_s

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first."""
        if self.ttft_s is None or self.e2e_s is None or self.output_tokens is None:
            return None
        return slo.tpot_s(ttft_s=self.ttft_s, e2e_s=self.e2e_s, output_tokens=self.output_tokens)

    @property
    def itl_s(self) -> npt.NDArray[np.float32]:
        """The gaps between the events that brought text; a server that sends a token an event has one less than tokens."""
        return np.frombuffer(self.gaps, "<f4")

    @property
    def problem(self) -> str | None:
        """Why the request did not end well, if it did not."""
        if self.error is not None:
            return self.error
        if self.finish_reason not in tuple(FinishReason):
            return f"the stream ended with finish_reason {self.finish_reason!r}"
        if not self.text:
            return "the answer has no text"
        if self.output_tokens is None:
            return "the stream brought no usage"
        return None

    @property
    def attained(self) -> bool:
        """Whether the request ended well and met all its targets."""
        if self.problem is not None or self.ttft_s is None or self.e2e_s is None:
            return False
        return self.request.slo.met(ttft_s=self.ttft_s, tpot_s=self.tpot_s, e2e_s=self.e2e_s)
