"""The life of a request in prism: choose an engine from the fleet as it is now, ask it, pass its answer on.

Until the first byte of an answer is here the client does not notice an engine that fails: another is asked.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Protocol

import msgspec
from starlette.types import Send

from services.prism.bytes_per_token import BytesPerToken
from services.prism.cached_prefixes import CachedPrefixes
from services.prism.dispatches import Dispatch, Dispatches
from services.prism.fleet import Fleet
from services.prism.foresighted import foresighted
from services.prism.intake import Intake
from services.prism.metrics import Metrics
from services.prism.policy import Policy
from services.prism.relay import relay
from services.prism.route import MOST_TRIES, RETRY_AFTER_S, Route, choose, what_is_left
from services.prism.upstream import Answer, EngineAway, EngineFull, Upstream
from shared import headers as names
from shared.errors import Overloaded, Unavailable
from shared.slo import CLASS_HEADER, Slo, headers_from_slo

LOOK_AGAIN_S = 1.0
"""How often a request that waits for its first byte sees whether its engine is still there."""

MOST_DIGITS = 9
"""Of a number of tokens."""


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


class Router:
    """Answers requests from the fleet.

    Attributes:
        bytes_per_token: what answers have taught of each model's tokenizer.
    """

    def __init__(  # noqa: PLR0913 - its parts, and what bounds them
        self,
        fleet: ReadsFleet,
        upstream: Upstream,
        dispatches: Dispatches,
        metrics: Metrics,
        *,
        idle_s: float,
        answer_s: float,
        policy: Policy = foresighted,
        prefixes: CachedPrefixes | None = None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._fleet = fleet
        self._upstream = upstream
        self._dispatches = dispatches
        self._metrics = metrics
        self._idle_s = idle_s
        self._answer_s = answer_s
        self._policy = policy
        self.bytes_per_token = BytesPerToken()
        self._prefixes = CachedPrefixes() if prefixes is None else prefixes
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
        tried: frozenset[str] = frozenset()
        full: list[EngineFull] = []
        while True:
            try:
                route = account.route = await self.decide(intake, account, tried)
            except Unavailable:
                if full:
                    raise _all_full(tried, full) from None
                raise
            tried |= {route.engine}
            account.tries = len(tried)
            try:
                async with self._asked(route, intake) as answer:
                    account.first_byte_s = self._clock() - intake.arrived_at_s
                    account.status = answer.status
                    await relay(answer, _client_headers(route, account.request_id), send)
                    return
            except EngineFull as refusal:
                full.append(refusal)
                self._metrics.retries.labels(route.engine).inc()
                if len(tried) == MOST_TRIES:
                    raise _all_full(tried, full) from None
            except EngineAway as problem:
                self._dispatches.failed(route.engine, self._clock())
                self._metrics.retries.labels(route.engine).inc()
                if len(tried) == MOST_TRIES:
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
        self._prefixes.take(fleet.engines)
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
            cached_blocks=self._prefixes.cached_blocks(intake.ask.blocks, now_s),
        )
        account.route_s = self._clock() - began_at_s
        self._metrics.route_seconds.observe(account.route_s)
        self._metrics.routes.labels(route.engine, route.reason).inc()
        return route

    @contextlib.asynccontextmanager
    async def _asked(self, route: Route, intake: Intake) -> AsyncIterator[Answer]:
        now_s = self._clock()
        dispatch = self._dispatches.send(route.engine, intake.ask.prompt_tokens - route.cached_tokens, now_s)
        self._prefixes.expect(route.engine, intake.ask.blocks, now_s)
        slo = what_is_left(intake.slo, now_s - intake.arrived_at_s)
        headers = {**intake.headers, **_engine_headers(route, slo, dispatch, self._dispatches.replica)}
        asked = self._upstream.ask(
            route.url + intake.path, intake.body, headers, first_byte_s=self._answer_s, idle_s=self._idle_s
        )
        try:
            async with contextlib.AsyncExitStack() as stack:
                answer = await self._unless_it_leaves(route.engine, stack.enter_async_context(asked))
                self._dispatches.answered(dispatch, self._clock())
                self._learn(intake, answer)
                yield answer
        finally:
            self._dispatches.end(dispatch)

    def _learn(self, intake: Intake, answer: Answer) -> None:
        counted = answer.headers.get(names.PROMPT_TOKENS, "")
        if counted.isdecimal() and len(counted) <= MOST_DIGITS:
            self.bytes_per_token.learn(intake.model, intake.ask, int(counted))

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
            beginning.cancel()
            await asyncio.wait((beginning,))


def _all_full(engines: frozenset[str], refusals: Sequence[EngineFull]) -> Overloaded:
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
