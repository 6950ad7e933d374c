"""The life of a request in prism: have an engine decided on, ask it, pass its answer on.

Until the first byte of an answer is here the client does not notice an engine that fails: another is asked, as long as the
retries of all requests together stay within their budget.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from services.prism.account import ANSWERED, Account, comment_of
from services.prism.client_protocol import Client
from services.prism.decisions import Decision, Decisions, Foretold
from services.prism.dispatches import Dispatch
from services.prism.hedging import hedged
from services.prism.hindsight import Hindsight
from services.prism.intake import Intake
from services.prism.metrics import Metrics
from services.prism.relay import relay
from services.prism.retry_budget import RETRY_FLOOR, RETRY_SHARE, RetryBudget
from services.prism.route import MOST_TRIES, RETRY_AFTER_S, Route, what_is_left
from services.prism.route_headers import client_headers, prediction_headers
from services.prism.stream_end import Ending
from services.prism.upstream import Answer, EngineAway, EngineFull, Upstream
from services.prism.while_there import while_there
from shared import headers as names
from shared.errors import ApiError, EngineFailed, Overloaded, Unavailable
from shared.slo import CLASS_HEADER, headers_from_slo

MOST_DIGITS = 9
"""Of a count of tokens that can be meant."""


class Asked(NamedTuple):
    """An engine that answers."""

    decision: Decision
    sent_s: float
    """When, from the request's arrival."""
    answer: Answer


class Router:
    """Answers requests from the fleet.

    Args:
        idle_s: the longest silence of an engine that has begun to answer.
        answer_s: the longest wait for an answer's first byte.
        hedge_share: of a request's TTFT target, after which a second engine is asked; None: never.
    """

    def __init__(  # noqa: PLR0913 - its parts, and what bounds them
        self,
        decisions: Decisions,
        upstream: Upstream,
        metrics: Metrics,
        hindsight: Hindsight,
        *,
        idle_s: float,
        answer_s: float,
        budget: RetryBudget | None = None,
        hedge_share: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decisions = decisions
        self._dispatches = decisions.dispatches
        self._upstream = upstream
        self._metrics = metrics
        self._hindsight = hindsight
        self._idle_s = idle_s
        self._answer_s = answer_s
        self._budget = RetryBudget(RETRY_SHARE, RETRY_FLOOR) if budget is None else budget
        self._hedge_share = hedge_share
        self._clock = clock

    async def answer(self, intake: Intake, account: Account, client: Client) -> None:
        """Answer a request, by another engine where one fails before it has given anything.

        Raises:
            NotFound: no engine has the model.
            Overloaded: every engine that could answer is full, or none can keep the request's targets.
            Unavailable: no engine can answer.
            EngineFailed: the engine failed after it had begun.
        """
        self._budget.earn(self._clock())
        tried: set[str] = set()
        full: list[EngineFull] = []
        while True:
            try:
                decision = await self._decide(intake, account, tried)
            except Unavailable:
                if full:
                    raise _all_full(tried, full) from None
                raise
            self._hindsight.promised(account, decision.route)
            try:
                async with self._answering(decision, intake, account, tried) as (taken, sent_s, answer):
                    route = taken.route
                    if taken is not decision:
                        self._metrics.hedges_won.labels(route.engine).inc()
                        self._hindsight.promised(account, route)
                    account.route, account.route_s, account.sent_s = route, taken.took_s, sent_s
                    account.first_byte_s = self._clock() - intake.arrived_at_s
                    account.status, account.is_stream = answer.status, answer.is_stream
                    headers = client_headers(route, intake.slo, account)
                    await relay(answer, headers, client, partial(self._ended, account, intake))
                    return
            except EngineFull as refusal:
                full.append(refusal)
                if not self._may_retry(tried):
                    raise _all_full(tried, full) from None
            except EngineAway as problem:
                if not self._may_retry(tried):
                    message = f"the engines {sorted(tried)} could not answer; the last: {problem}"
                    raise Unavailable(message, code="engines_away", retry_after_s=RETRY_AFTER_S) from problem

    async def hand_out(self, intake: Intake, account: Account) -> tuple[Route, Mapping[str, str]]:
        """The engine for a request that another proxy sends, and the headers to send it with.

        Raises:
            NotFound, Unavailable, Overloaded: as `Decisions.decide`.
        """
        decision = await self._decide(intake, account, set())
        # Nobody will say here when it ends: its engine settles what was reserved, or time does.
        self._dispatches.end(decision.dispatch)
        return decision.route, self._engine_headers(decision, intake)

    async def foretell(self, intake: Intake, account: Account) -> Foretold:
        """As `Decisions.foretell`."""
        began_at_s = self._clock()
        foretold = await self._decisions.foretell(intake)
        account.route = foretold.choice if isinstance(foretold.choice, Route) else None
        account.route_s = self._clock() - began_at_s
        return foretold

    async def _decide(self, intake: Intake, account: Account, tried: set[str]) -> Decision:
        decision = await self._decisions.decide(intake, frozenset(tried))
        tried.add(decision.route.engine)
        account.route, account.tries = decision.route, len(tried)
        account.route_s, account.sent_s = decision.took_s, self._clock() - intake.arrived_at_s
        return decision

    def _may_retry(self, tried: set[str]) -> bool:
        if len(tried) >= MOST_TRIES:
            return False
        may = self._budget.spend(self._clock())
        if not may:
            self._metrics.retries_refused.inc()
        return may

    def _answering(
        self, decision: Decision, intake: Intake, account: Account, tried: set[str]
    ) -> AbstractAsyncContextManager[Asked]:
        """The answer of this engine, or of a second one where this is late for the request's target."""
        first = self._asked(decision, intake)
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
            decision = await self._decisions.decide(intake, frozenset(tried))
        except ApiError:
            return None
        left_s = what_is_left(intake.slo, self._clock() - intake.arrived_at_s).ttft_s
        foreseen_s = decision.route.predicted_ttft_s
        if foreseen_s is None or left_s is None or foreseen_s > left_s or not self._budget.spend(self._clock()):
            self._decisions.let_go(decision.dispatch)
            return None
        tried.add(decision.route.engine)
        account.tries = len(tried)
        self._metrics.hedges.labels(decision.route.engine).inc()
        return self._asked(decision, intake)

    @contextlib.asynccontextmanager
    async def _asked(self, decision: Decision, intake: Intake) -> AsyncIterator[Asked]:
        route, dispatch, _ = decision
        sent_s = self._clock() - intake.arrived_at_s
        asked = self._upstream.ask(
            route.url + intake.path,
            intake.body,
            self._engine_headers(decision, intake),
            first_byte_s=self._answer_s,
            idle_s=self._idle_s,
        )
        is_taken = False
        try:
            async with contextlib.AsyncExitStack() as stack:
                answer = await while_there(stack.enter_async_context(asked), partial(self._is_there, route.engine))
                is_taken = answer.status < HTTPStatus.BAD_REQUEST
                self._dispatches.answered(dispatch, self._clock())
                self._learn_size(intake, answer)
                yield Asked(decision, sent_s, answer)
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
            self._end(dispatch, is_taken=is_taken)

    def _end(self, dispatch: Dispatch, *, is_taken: bool) -> None:
        if is_taken:
            self._dispatches.end(dispatch)  # its engine has heard of it, and settles what was reserved
        else:
            self._decisions.let_go(dispatch)

    async def _is_there(self, engine: str) -> bool:
        """Whether it is in the pool, as far as is known."""
        fleet = await self._decisions.fleet.read()
        return fleet.stale or fleet.pool.view_of(engine) is not None

    def _learn_size(self, intake: Intake, answer: Answer) -> None:
        counted = answer.headers.get(names.PROMPT_TOKENS, "")
        if counted.isdecimal() and len(counted) <= MOST_DIGITS:
            self._hindsight.bytes_per_token.learn(intake.model, intake.ask, int(counted))

    def _ended(self, account: Account, intake: Intake, ending: Ending) -> bytes:
        """Note how an answer ended; what a stream says of it."""
        account.ending, account.ended_s = ending, self._clock() - intake.arrived_at_s
        if not account.is_stream:
            return b""
        account.told = self._hindsight.receipt(account, ANSWERED, account.ended_s)
        return b"" if account.told is None else comment_of(account.told)

    def _engine_headers(self, decision: Decision, intake: Intake) -> dict[str, str]:
        return {
            **intake.headers,
            **headers_from_slo(what_is_left(intake.slo, self._clock() - intake.arrived_at_s)),
            **prediction_headers(decision.route),
            CLASS_HEADER: intake.slo.name,
            names.DISPATCH: decision.dispatch.name(self._dispatches.replica),
        }


def _all_full(engines: set[str], refusals: Sequence[EngineFull]) -> Overloaded:
    """What the client is told where no engine takes its request: to come back when the first of them may."""
    retry_after_s = min(refusal.retry_after_s for refusal in refusals)
    return Overloaded(f"the engines {sorted(engines)} are full", code="engines_full", retry_after_s=retry_after_s)
