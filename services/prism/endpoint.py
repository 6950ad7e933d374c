"""An endpoint that takes a generation request, bare ASGI: whatever becomes of a request, it is answered, counted and logged once."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from starlette.types import Receive, Scope, Send

from services.prism.account import ANSWERED, BROKEN, CLIENT_GONE, FAILED, REFUSED, Account, ms
from services.prism.client_protocol import Client
from services.prism.door import grant_of
from services.prism.hindsight import Hindsight
from services.prism.intake import Intake, take_in
from services.prism.metrics import Metrics
from services.prism.relay import StreamBroken
from services.prism.route import RETRY_AFTER_S
from shared.api import AnyRequest
from shared.asgi import ClientGone, refuse, request_id_of, unless_client_leaves
from shared.errors import ApiError, Unavailable
from shared.slo import Slo

log = structlog.get_logger()

CLIENT_GONE_STATUS = 499


Answers = Callable[[Intake, Account, Client], Coroutine[Any, Any, None]]
"""Answers a request, and says in its account what became of it."""


class Endpoint:
    """Takes in and has answered.

    Args:
        answered: the outcome of a request that got what it wanted.
    """

    def __init__(
        self,
        answer: Answers,
        decode: Callable[[bytes], AnyRequest],
        metrics: Metrics,
        hindsight: Hindsight,
        *,
        slo_classes: Mapping[str, Slo],
        most_body_bytes: int,
        answered: str = ANSWERED,
    ) -> None:
        self._answer = answer
        self._answered = answered
        self._decode = decode
        self._metrics = metrics
        self._hindsight = hindsight
        self._slo_classes = slo_classes
        self._most_body_bytes = most_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived_at_s = time.monotonic()
        headers = _by_name(scope)
        account = Account(request_id=request_id_of(headers))
        outcome = BROKEN
        try:
            intake = account.intake = await take_in(
                headers,
                receive,
                self._decode,
                request_id=account.request_id,
                slo_classes=self._slo_classes,
                most_bytes=self._most_body_bytes,
                arrived_at_s=arrived_at_s,
                grant=grant_of(scope),
                lengths=self._hindsight.lengths,
                bytes_per_token=self._hindsight.bytes_per_token.of,
            )
            await unless_client_leaves(receive, self._answer(intake, account, Client.of(scope, send)))
            outcome = self._outcome(account.status)
        except ClientGone:
            account.status, outcome = CLIENT_GONE_STATUS, CLIENT_GONE
        except StreamBroken:
            pass
        except asyncio.CancelledError:
            if not (account.is_stream and account.first_byte_s is not None):  # else its stream has said so
                leaving = Unavailable("the router is shutting down", code="draining", retry_after_s=RETRY_AFTER_S)
                account.status, outcome = leaving.status, FAILED
                await refuse(send, leaving, account.request_id)
            raise
        except ApiError as error:
            account.status, outcome = error.status, self._outcome(error.status)
            await refuse(send, error, account.request_id)
        finally:
            self._settle(account, outcome, time.monotonic() - arrived_at_s)

    def _settle(self, account: Account, outcome: str, duration_s: float) -> None:
        self._metrics.requests.labels(account.status, outcome).inc()
        if self._answered == ANSWERED:  # others only ask what would be
            self._hindsight.take(account, outcome, duration_s)
        intake, route = account.intake, account.route
        log.info(
            "request",
            request_id=account.request_id,
            outcome=outcome,
            status=account.status,
            model=intake and intake.model,
            tenant=intake and intake.standing.tenant,
            slo_class=intake and intake.slo.name,
            engine=route and route.engine,
            reason=route and route.reason,
            tries=account.tries,
            cached_tokens=route and route.cached_tokens,
            predicted_ttft_ms=ms(route.predicted_ttft_s if route else None),
            predicted_tpot_ms=ms(route.predicted_tpot_s if route else None),
            route_ms=ms(account.route_s),
            first_byte_ms=ms(account.first_byte_s),
            duration_ms=ms(duration_s),
        )

    def _outcome(self, status: int) -> str:
        if status < 400:
            return self._answered
        return REFUSED if status < 500 else FAILED


def _by_name(scope: Scope) -> Mapping[str, str]:
    """A request's headers; of several of one name the first, as Starlette has it, which looks through all of them each time."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
