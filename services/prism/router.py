"""The life of a request in prism: choose an engine from the fleet as it is now, ask it, pass its answer on.

Until the first byte of an answer is here the client does not notice an engine that fails: another is asked, as long as the
retries of all requests together stay within their budget. A request may ask a second engine while the first is only late.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol

import msgspec
from starlette.types import Send

from services.prism.dispatches import Dispatch, Dispatches
from services.prism.fleet import Fleet
from services.prism.foresighted import foresighted
from services.prism.hedging import hedged
from services.prism.intake import Intake
from services.prism.metrics import Metrics
from services.prism.policy import Policy
from services.prism.relay import relay
from services.prism.retry_budget import RETRY_FLOOR, RETRY_SHARE, RetryBudget
from services.prism.route import MOST_TRIES, RETRY_AFTER_S, Route, choose, what_is_left
from services.prism.upstream import Answer, EngineAway, EngineFull, Upstream
from shared import headers as names
from shared.errors import ApiError, EngineFailed, Overloaded, Unavailable
from shared.slo import CLASS_HEADER, Slo, headers_from_slo

LOOK_AGAIN_S = 1.0
"""How often a request that waits for its first byte sees whether its engine is still there."""


class ReadsFleet(Protocol):
    """Where the fleet is read, anew for each request."""

    async def read(self) -> Fleet:
        """The fleet now."""
        ...


class Account(msgspec.Struct, kw_only=True):
    """What became of a request, for its line in the log; times count from its arrival."""

    request_id: str
    model: str | None = None
    slo_class: str | None = None
    route: Route | None = None
    tries: int = 0
    route_s: float | None = None
    """Of the last try: reading the fleet and choosing."""
    first_byte_s: float | None = None
    status: int = 500
    """Until there is another."""


class Asked(NamedTuple):
    """An engine that answers."""

    route: Route
    answer: Answer


class Router:
    """Answers requests from the fleet."""

    def __init__(  # noqa: PLR0913 - its parts, and what bounds them
        self,
        fleet: ReadsFleet,
        upstream: Upstream,
        dispatches: Dispatches,
        metrics: Metrics,
        *,
        idle_s: float,
        answer_s: float,
        budget: RetryBudget | None = None,
        hedge_share: float | None = None,
        policy: Policy = foresighted,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._fleet = fleet
        self._upstream = upstream
        self._dispatches = dispatches
        self._metrics = metrics
        self._idle_s = idle_s
        self._answer_s = answer_s
        self._budget = RetryBudget(RETRY_SHARE, RETRY_FLOOR) if budget is None else budget
        self._hedge_share = hedge_share
        self._policy = policy
        self._turns = itertools.count()
        self._clock = clock
        self._draw = draw

    async def answer(self, intake: Intake, account: Account, send: Send) -> None:
        """Answer a request, by another engine where one fails before it has given anything.

        Raises:
            NotFound: no engine has the model.
            Overloaded: every engine that could answer is full.
            Unavailable: no engine can answer.
            EngineFailed: the engine failed after it had begun.
        """
        self._budget.earn(self._clock())
        tried: set[str] = set()
        full: list[EngineFull] = []
        while True:
            try:
                route = account.route = await self.decide(intake, account, frozenset(tried))
            except Unavailable:
                if full:
                    raise _all_full(tried, full) from None
                raise
            tried.add(route.engine)
            account.tries = len(tried)
            try:
                async with self._answering(route, intake, account, tried) as (route, answer):
                    if route is not account.route:
                        self._metrics.hedges_won.labels(route.engine).inc()
                    account.route = route
                    account.first_byte_s = self._clock() - intake.arrived_at_s
                    account.status = answer.status
                    await relay(answer, _client_headers(route, account.request_id), send)
                    return
            except EngineFull as refusal:
                full.append(refusal)
                if not self._may_retry(tried):
                    raise _all_full(tried, full) from None
            except EngineAway as problem:
                if not self._may_retry(tried):
                    message = f"the engines {sorted(tried)} could not answer; the last: {problem}"
                    raise Unavailable(message, code="engines_away", retry_after_s=RETRY_AFTER_S) from problem

    async def decide(self, intake: Intake, account: Account, tried: frozenset[str]) -> Route:
        """The engine for a request, by the fleet as it is now.

        Raises:
            NotFound, Unavailable: as `choose`.
        """
        began_at_s = self._clock()
        fleet = await self._fleet.read()
        now_s = self._clock()
        loads = {engine.state.engine: self._dispatches.load(engine.state, now_s) for engine in fleet.engines}
        slo = what_is_left(intake.slo, now_s - intake.arrived_at_s)
        route = choose(
            fleet,
            loads,
            intake.ask,
            slo,
            model=intake.model,
            draw=self._draw(),
            turn=next(self._turns),
            tried=tried,
            policy=self._policy,
        )
        account.route_s = self._clock() - began_at_s
        self._metrics.route_seconds.observe(account.route_s)
        self._metrics.routes.labels(route.engine, route.reason).inc()
        return route

    def _may_retry(self, tried: set[str]) -> bool:
        if len(tried) >= MOST_TRIES:
            return False
        may = self._budget.spend(self._clock())
        if not may:
            self._metrics.retries_refused.inc()
        return may

    def _answering(
        self, route: Route, intake: Intake, account: Account, tried: set[str]
    ) -> AbstractAsyncContextManager[Asked]:
        """The answer of this engine, or of a second one where this is late for the request's target."""
        first = self._asked(route, intake)
        if self._hedge_share is None or intake.slo.ttft_s is None:
            return first
        late_at_s = intake.arrived_at_s + self._hedge_share * intake.slo.ttft_s
        return hedged(first, late_at_s - self._clock(), lambda: self._second(intake, account, tried))

    async def _second(
        self, intake: Intake, account: Account, tried: set[str]
    ) -> AbstractAsyncContextManager[Asked] | None:
        """Another engine that is foreseen to make the target for first tokens yet, if there is one and the budget allows it."""
        if len(tried) >= MOST_TRIES:
            return None
        try:
            route = await self.decide(intake, account, frozenset(tried))
        except ApiError:
            return None
        left_s = what_is_left(intake.slo, self._clock() - intake.arrived_at_s).ttft_s
        foreseen_s = route.predicted_ttft_s
        if foreseen_s is None or left_s is None or foreseen_s > left_s or not self._budget.spend(self._clock()):
            return None
        tried.add(route.engine)
        account.tries = len(tried)
        self._metrics.hedges.labels(route.engine).inc()
        return self._asked(route, intake)

    @contextlib.asynccontextmanager
    async def _asked(self, route: Route, intake: Intake) -> AsyncIterator[Asked]:
        now_s = self._clock()
        dispatch = self._dispatches.send(route.engine, intake.ask.prompt_tokens, now_s)
        slo = what_is_left(intake.slo, now_s - intake.arrived_at_s)
        headers = {**intake.headers, **_engine_headers(route, slo, dispatch, self._dispatches.replica)}
        asked = self._upstream.ask(
            route.url + intake.path, intake.body, headers, first_byte_s=self._answer_s, idle_s=self._idle_s
        )
        try:
            async with contextlib.AsyncExitStack() as stack:
                answer = await self._unless_it_leaves(route.engine, stack.enter_async_context(asked))
                self._dispatches.answered(dispatch, self._clock())
                yield Asked(route, answer)
        except EngineFull:
            self._dispatches.well(dispatch)
            self._metrics.retries.labels(route.engine).inc()
            raise
        except EngineAway:
            self._dispatches.failed(dispatch, self._clock())
            self._metrics.retries.labels(route.engine).inc()
            raise
        except EngineFailed:
            self._dispatches.failed(dispatch, self._clock())
            raise
        finally:
            self._dispatches.end(dispatch)

    async def _unless_it_leaves(self, engine: str, answer: Coroutine[Any, Any, Answer]) -> Answer:
        """Await the beginning of an answer for as long as the engine is in the pool: a frozen one breaks no connection.

        Raises:
            EngineAway: the engine has left the pool meanwhile.
        """
        beginning = asyncio.ensure_future(answer)
        try:
            while not (await asyncio.wait((beginning,), timeout=LOOK_AGAIN_S))[0]:
                fleet = await self._fleet.read()
                if not fleet.stale and engine not in {view.state.engine for view in fleet.engines}:
                    raise EngineAway("it has left the pool")
            return beginning.result()
        finally:
            if not beginning.done():
                beginning.cancel()
                await asyncio.wait((beginning,))


def _all_full(engines: set[str], refusals: Sequence[EngineFull]) -> Overloaded:
    """What the client is told where no engine takes its request: to come back when the first of them may."""
    retry_after_s = min(refusal.retry_after_s for refusal in refusals)
    return Overloaded(f"the engines {sorted(engines)} are full", code="engines_full", retry_after_s=retry_after_s)


def _engine_headers(route: Route, slo: Slo, dispatch: Dispatch, replica: str) -> dict[str, str]:
    return {
        **headers_from_slo(slo),
        **_predictions(route),
        CLASS_HEADER: slo.name,
        names.DISPATCH: f"{replica}:{dispatch.number}",
    }


def _client_headers(route: Route, request_id: str) -> dict[str, str]:
    return {
        names.REQUEST_ID: request_id,
        names.ENGINE: route.engine,
        names.ROUTE_REASON: route.reason,
        **_predictions(route),
    }


def _predictions(route: Route) -> dict[str, str]:
    predictions = {
        names.PREDICTED_TTFT_MS: route.predicted_ttft_s,
        names.PREDICTED_TPOT_MS: route.predicted_tpot_s,
    }
    return {name: f"{value_s * 1e3:.3f}" for name, value_s in predictions.items() if value_s is not None}
