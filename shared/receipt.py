"""What was promised and what came of it: one request that a router took in, prism → a Redis stream."""

from shared.wire import Message


class Receipt(Message, frozen=True, kw_only=True):
    """A request that has ended. What was not foreseen or never came to be is None."""

    request_id: str
    replica: str
    """The router's."""
    model: str
    slo_class: str
    tenant: str = ""
    target_ttft_ms: float | None = None
    target_tpot_ms: float | None = None
    target_e2e_ms: float | None = None

    engine: str | None = None
    """Where it was sent last; None where no engine could be asked."""
    reason: str | None = None
    tries: int = 0
    predicted_ttft_ms: float | None = None
    """From the last routing decision, which was `sent_ms` after arrival."""
    predicted_tpot_ms: float | None = None
    p_met: float | None = None
    """How probable it was at the decision that all targets would be met there."""
    best_other_p_met: float | None = None
    """The same of the best engine but that one."""
    state_age_ms: float | None = None
    """How old the engine's state was at the decision."""
    route_ms: float | None = None
    """That the decision took."""
    sent_ms: float | None = None
    """From arrival to the decision."""

    status: int
    outcome: str
    """`answered`, `refused`, `failed`, `broken` (in the middle of a stream), or `client-gone`."""
    refused: bool = False
    """Whether it was turned away for want of room."""
    met: bool | None = None
    """Whether its targets were met, as far as the router can tell; None where it had none, or that is not known."""
    ttft_ms: float | None = None
    """From arrival to the first token; of streams."""
    tpot_ms: float | None = None
    e2e_ms: float
    output_tokens: int | None = None
    """As the answer counts them; of a stream that does not say, its events that bring text."""
