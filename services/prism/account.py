"""What became of a request, as the router saw it: told to its client, in a line of the log, and in a receipt. Pure."""

from typing import Any

import msgspec

from services.prism.intake import Intake
from services.prism.promises import Promise
from services.prism.route import Route
from services.prism.stream_end import Ending
from shared.errors import Overloaded
from shared.receipt import Receipt
from shared.slo import Slo, tpot_s

ANSWERED, REFUSED, FAILED, BROKEN, CLIENT_GONE = "answered", "refused", "failed", "broken", "client-gone"
"""How a request may have ended."""

COMMENT = b": synergy "
"""Begins the line by which a stream says what came of it: a comment, which readers of event streams pass over."""


class Account(msgspec.Struct, kw_only=True):
    """A request under way. Times count from its arrival."""

    request_id: str
    intake: Intake | None = None
    """None as long as it has not been taken in."""
    route: Route | None = None
    tries: int = 0
    route_s: float | None = None
    """Of the last try: reading the fleet and choosing."""
    sent_s: float | None = None
    """When the last try's choice was made."""
    first_byte_s: float | None = None
    is_stream: bool = False
    """Whether the answer comes in pieces: then its first byte is its first token."""
    ended_s: float | None = None
    """When the end of the answer was here."""
    ending: Ending = Ending()
    promise: Promise | None = None
    """That its targets will be kept, as it was sent last."""
    told: Receipt | None = None
    """What its stream has said of it at its end."""
    status: int = 500
    """Until there is another."""

    @property
    def ttft_s(self) -> float | None:
        """Time to first token; None where the answer does not show it."""
        return self.first_byte_s if self.is_stream else None

    @property
    def tpot_s(self) -> float | None:
        """Time per output token, as far as the answer shows it."""
        tokens = self.ending.output_tokens
        if self.ttft_s is None or self.ended_s is None or tokens is None:
            return None
        return tpot_s(ttft_s=self.ttft_s, e2e_s=self.ended_s, output_tokens=tokens)


class _Told(msgspec.Struct, omit_defaults=True):
    """What a stream's comment says; a field of `Receipt` each."""

    engine: str | None = None
    predicted_ttft_ms: float | None = None
    ttft_ms: float | None = None
    predicted_tpot_ms: float | None = None
    tpot_ms: float | None = None
    p_met: float | None = None
    met: bool | None = None
    route_ms: float | None = None


def receipt_of(account: Account, outcome: str, duration_s: float, replica: str) -> Receipt | None:
    """What was promised and what came of it; None of what was never taken in: nothing was promised.

    Args:
        duration_s: from arrival until now.
    """
    intake = account.intake
    if intake is None:
        return None
    slo, e2e_s = intake.slo, account.ended_s or duration_s
    return Receipt(
        request_id=account.request_id,
        replica=replica,
        model=intake.model,
        slo_class=slo.name,
        tenant=intake.standing.tenant,
        target_ttft_ms=ms(slo.ttft_s),
        target_tpot_ms=ms(slo.tpot_s),
        target_e2e_ms=ms(slo.e2e_s),
        tries=account.tries,
        **({} if account.route is None else _decision(account.route)),
        route_ms=ms(account.route_s),
        sent_ms=ms(account.sent_s),
        status=account.status,
        outcome=outcome,
        refused=account.status == Overloaded.status,
        met=_met(account, outcome, slo, e2e_s),
        ttft_ms=ms(account.ttft_s),
        tpot_ms=ms(account.tpot_s),
        e2e_ms=round(e2e_s * 1e3, 3),
        output_tokens=account.ending.output_tokens,
    )


def _decision(route: Route) -> dict[str, Any]:
    return {
        "engine": route.engine,
        "reason": route.reason,
        "predicted_ttft_ms": ms(route.predicted_ttft_s),
        "predicted_tpot_ms": ms(route.predicted_tpot_s),
        "p_met": route.p_met,
        "best_other_p_met": route.best_other_p_met,
        "state_age_ms": ms(route.state_age_s),
    }


def comment_of(receipt: Receipt) -> bytes:
    """The receipt as a comment in a stream of events, its end included."""
    told = _Told(**{field: getattr(receipt, field) for field in _Told.__struct_fields__})
    return COMMENT + msgspec.json.encode(told) + b"\n\n"


def ms(value_s: float | None) -> float | None:
    """In milliseconds, no finer than anyone can use."""
    return None if value_s is None else round(value_s * 1e3, 3)


def _met(account: Account, outcome: str, slo: Slo, e2e_s: float) -> bool | None:
    """Whether the targets were met; None where there are none, where the client's error was in the way, or that is not known.

    What the answer does not show lies between bounds: the first token of one in one piece came no sooner than at once and no
    later than all of it.
    """
    if slo.ttft_s is None and slo.tpot_s is None and slo.e2e_s is None:
        return None
    if outcome not in (ANSWERED, CLIENT_GONE):
        is_clients = 400 <= account.status < 500 and account.status != Overloaded.status
        return None if is_clients else False
    ttft_s, time_per_token_s = account.ttft_s, account.tpot_s
    if outcome == CLIENT_GONE or account.ended_s is None:
        least_s = e2e_s if account.first_byte_s is None else ttft_s or 0.0
        return None if slo.met(ttft_s=least_s, tpot_s=None, e2e_s=e2e_s) else False
    if ttft_s is not None:
        return slo.met(ttft_s=ttft_s, tpot_s=time_per_token_s, e2e_s=e2e_s)
    tokens = account.ending.output_tokens
    most_tpot_s = e2e_s if tokens is None else tpot_s(ttft_s=0.0, e2e_s=e2e_s, output_tokens=tokens)
    if slo.met(ttft_s=e2e_s, tpot_s=most_tpot_s, e2e_s=e2e_s):
        return True
    return None if slo.met(ttft_s=0.0, tpot_s=None, e2e_s=e2e_s) else False
