"""One of the two generation endpoints, bare ASGI: whatever becomes of a request, it is answered, counted and logged once."""

import time
from collections.abc import Callable, Mapping

import structlog
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from services.prism.intake import take_in
from services.prism.metrics import Metrics
from services.prism.relay import StreamBroken
from services.prism.router import Account, Router
from shared.api import AnyRequest
from shared.asgi import ClientGone, refuse, request_id_of, unless_client_leaves
from shared.errors import ApiError
from shared.slo import Slo

log = structlog.get_logger()

CLIENT_GONE_STATUS = 499


class Endpoint:
    """Takes in, routes and answers."""

    def __init__(
        self,
        router: Router,
        decode: Callable[[bytes], AnyRequest],
        metrics: Metrics,
        *,
        slo_classes: Mapping[str, Slo],
        most_body_bytes: int,
    ) -> None:
        self._router = router
        self._decode = decode
        self._metrics = metrics
        self._slo_classes = slo_classes
        self._most_body_bytes = most_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived_at_s = time.monotonic()
        headers = Headers(scope=scope)
        account = Account(request_id=request_id_of(headers))
        outcome = "broken"
        try:
            intake = await take_in(
                scope["path"],
                headers,
                receive,
                self._decode,
                request_id=account.request_id,
                slo_classes=self._slo_classes,
                most_bytes=self._most_body_bytes,
                arrived_at_s=arrived_at_s,
                bytes_per_token=self._router.bytes_per_token.of,
            )
            account.model, account.slo_class = intake.model, intake.slo.name
            await unless_client_leaves(receive, self._router.answer(intake, account, send))
            outcome = _outcome(account.status)
        except ClientGone:
            account.status, outcome = CLIENT_GONE_STATUS, "client-gone"
        except StreamBroken:
            pass
        except ApiError as error:
            account.status, outcome = error.status, _outcome(error.status)
            await refuse(send, error, account.request_id)
        finally:
            self._settle(account, outcome, time.monotonic() - arrived_at_s)

    def _settle(self, account: Account, outcome: str, duration_s: float) -> None:
        self._metrics.requests.labels(account.status, outcome).inc()
        route = account.route
        log.info(
            "request",
            request_id=account.request_id,
            outcome=outcome,
            status=account.status,
            model=account.model,
            slo_class=account.slo_class,
            engine=route and route.engine,
            reason=route and route.reason,
            tries=account.tries,
            cached_tokens=route and route.cached_tokens,
            predicted_ttft_ms=_ms(route.predicted_ttft_s if route else None),
            predicted_tpot_ms=_ms(route.predicted_tpot_s if route else None),
            route_ms=_ms(account.route_s),
            first_byte_ms=_ms(account.first_byte_s),
            duration_ms=_ms(duration_s),
        )


def _outcome(status: int) -> str:
    if status < 400:
        return "answered"
    return "refused" if status < 500 else "failed"


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else round(value_s * 1e3, 3)
