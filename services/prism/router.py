"""The life of a request in prism: choose an engine from the fleet as it is now, ask it, pass its answer on.

Until the first byte of an answer is here the client does not notice an engine that fails: another is asked.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

import msgspec
from starlette.types import Send

from services.prism.account import ANSWERED, Account, comment_of
from services.prism.cached_prefixes import CachedPrefixes
from services.prism.dispatches import Dispatch, Dispatches, Load, Placed
from services.prism.fleet import Fleet
from services.prism.foresighted import foresighted
from services.prism.hindsight import Hindsight
from services.prism.intake import Intake
from services.prism.metrics import Metrics
from services.prism.pending import Pending
from services.prism.policy import Policy
from services.prism.relay import relay
from services.prism.route import MOST_TRIES, NO_LOAD, RETRY_AFTER_S, Route, choose, what_is_left
from services.prism.stream_end import Ending
from services.prism.upstream import Answer, EngineAway, EngineFull, Upstream
from shared import headers as names
from shared.errors import ApiError, Overloaded, Unavailable
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


class Reserves(Protocol):
    """Where room on an engine is reserved, for all replicas to see."""

    async def reserve(self, dispatch: Dispatch, instead_of: Dispatch | None = None) -> Pending | None:
        """All that is reserved on its engine then, this one included; None where nobody can say."""
        ...

    def release(self, dispatch: Dispatch) -> None:
        """Take it back: its engine will not hear of it, or has refused it."""
        ...


class Unshared:
    """Reserves nothing: for a router that is alone."""

    async def reserve(self, dispatch: Dispatch, instead_of: Dispatch | None = None) -> Pending | None:
        """Nothing."""

    def release(self, dispatch: Dispatch) -> None:
        """Nothing."""


class Decision(NamedTuple):
    """An engine for a request, and the request's place in the ledger; whoever has it ends it."""

    route: Route
    dispatch: Dispatch


class Foretold(msgspec.Struct, frozen=True):
    """What would be decided; a refusal that says when to ask again in place of a route where there is none."""

    choice: Route | ApiError
    engines: Mapping[str, Route | ApiError]
    """Of each that has the model, as if it were the only one."""


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
        hindsight: Hindsight,
        *,
        idle_s: float,
        answer_s: float,
        reservations: Reserves | None = None,
        policy: Policy = foresighted,
        prefixes: CachedPrefixes | None = None,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._fleet = fleet
        self._upstream = upstream
        self._dispatches = dispatches
        self._metrics = metrics
        self._hindsight = hindsight
        self._idle_s = idle_s
        self._answer_s = answer_s
        self._reservations = reservations or Unshared()
        self._policy = policy
        self._prefixes = CachedPrefixes() if prefixes is None else prefixes
        self._turn = 0
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
                route, dispatch = await self.decide(intake, account, tried)
            except Unavailable:
                if full:
                    raise _all_full(tried, full) from None
                raise
            account.route = route
            tried |= {route.engine}
            account.tries = len(tried)
            try:
                async with self._asked(route, dispatch, intake) as answer:
                    account.first_byte_s = self._clock() - intake.arrived_at_s
                    account.status, account.is_stream = answer.status, answer.is_stream
                    headers = _client_headers(route, intake.slo, account)
                    await relay(answer, headers, send, partial(self._ended, account, intake))
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

    async def decide(self, intake: Intake, account: Account, tried: frozenset[str]) -> Decision:
        """The engine for a request, by the fleet as it is now, and room for the request reserved there.

        Another choice is made once if others have reserved much there meanwhile: by a fleet that shows what they did.

        Raises:
            NotFound, Unavailable: as `choose`.
        """
        began_at_s = self._clock()
        decision, crowded = await self._place(intake, tried)
        if crowded is not None:
            try:
                decision, _ = await self._place(intake, tried, crowded)
            except BaseException:
                self._let_go(crowded.dispatch)
                raise
            if decision.dispatch is not crowded.dispatch:
                self._dispatches.end(crowded.dispatch)
        now_s = self._clock()
        account.route_s, account.sent_s = now_s - began_at_s, now_s - intake.arrived_at_s
        self._metrics.route_seconds.observe(account.route_s)
        self._metrics.routes.labels(decision.route.engine, decision.route.reason).inc()
        return decision

    async def _place(
        self, intake: Intake, tried: frozenset[str], placed: Placed | None = None
    ) -> tuple[Decision, Placed | None]:
        """Read, choose, reserve; and where others came to that engine between the first and the last, as what it is placed.

        Args:
            placed: where it is already; it stays unless another engine is chosen now.
        """
        fleet = await self._fleet.read()
        loads = self._dispatches.loads(fleet, self._clock(), placed=placed)
        route = self._choose(fleet, loads, intake, tried)
        self._turn += 1
        if placed is not None and placed.dispatch.engine == route.engine:
            return Decision(route, placed.dispatch), None
        now_s = self._clock()
        due_in_s = what_is_left(intake.slo, now_s - intake.arrived_at_s).first_token_s
        own_tokens = intake.ask.prompt_tokens - route.cached_tokens
        dispatch = self._dispatches.send(route.engine, own_tokens, now_s, due_in_s)
        try:
            reserved = await self._reservations.reserve(dispatch, placed and placed.dispatch)
        except BaseException:
            self._let_go(dispatch)
            raise
        decision = Decision(route, dispatch)
        if reserved is None:
            return decision, None
        self._dispatches.reserved(dispatch)
        state = next(engine.state for engine in fleet.engines if engine.state.engine == route.engine)
        now_placed = Placed(dispatch, reserved)
        is_crowded = now_placed.moved_much(state, loads.get(route.engine, NO_LOAD))
        return decision, now_placed if is_crowded else None

    def _choose(self, fleet: Fleet, loads: Mapping[str, Load], intake: Intake, tried: frozenset[str]) -> Route:
        now_s = self._clock()
        slo = what_is_left(intake.slo, now_s - intake.arrived_at_s)
        self._prefixes.take(fleet.engines)
        return choose(
            fleet,
            loads,
            intake.ask,
            slo,
            model=intake.model,
            draw=self._draw(),
            turn=self._turn,
            tried=tried,
            policy=self._policy,
            cached_blocks=self._prefixes.cached_blocks(intake.ask.blocks),
        )

    async def hand_out(self, intake: Intake, account: Account) -> tuple[Route, Mapping[str, str]]:
        """The engine for a request that another proxy sends, and the headers to send it with.

        Raises:
            NotFound, Unavailable: as `choose`.
        """
        route, dispatch = await self.decide(intake, account, frozenset())
        account.route = route
        # Nobody will say here when it ends: its engine settles what was reserved, or time does.
        self._dispatches.end(dispatch)
        return route, self._engine_headers(route, intake, dispatch)

    async def foretell(self, intake: Intake, account: Account) -> Foretold:
        """What `decide` would say now, and of each engine alone; nothing is reserved and nothing sent.

        Raises:
            NotFound: as `choose`.
        """
        began_at_s = self._clock()
        fleet = await self._fleet.read()
        choice = self._outlook(fleet, intake)
        engines = {}
        for engine in fleet.engines:
            if engine.state.model == intake.model:
                alone = msgspec.structs.replace(fleet, engines=(engine,))
                engines[engine.state.engine] = self._outlook(alone, intake)
                await asyncio.sleep(0)  # a large fleet must not hold up those who are served
        account.route = choice if isinstance(choice, Route) else None
        account.route_s = self._clock() - began_at_s
        return Foretold(choice=choice, engines=engines)

    def _outlook(self, fleet: Fleet, intake: Intake) -> Route | ApiError:
        try:
            return self._choose(fleet, self._dispatches.loads(fleet, self._clock()), intake, frozenset())
        except (Overloaded, Unavailable) as refusal:
            return refusal

    def _engine_headers(self, route: Route, intake: Intake, dispatch: Dispatch) -> dict[str, str]:
        return {
            **intake.headers,
            **headers_from_slo(what_is_left(intake.slo, self._clock() - intake.arrived_at_s)),
            **_predictions(route),
            CLASS_HEADER: intake.slo.name,
            names.DISPATCH: dispatch.name(self._dispatches.replica),
        }

    def _ended(self, account: Account, intake: Intake, ending: Ending) -> bytes:
        """Note how an answer ended; what a stream says of it."""
        account.ending, account.ended_s = ending, self._clock() - intake.arrived_at_s
        receipt = self._hindsight.receipt(account, ANSWERED, account.ended_s)
        return b"" if receipt is None else comment_of(receipt)

    @contextlib.asynccontextmanager
    async def _asked(self, route: Route, dispatch: Dispatch, intake: Intake) -> AsyncIterator[Answer]:
        headers = self._engine_headers(route, intake, dispatch)
        asked = self._upstream.ask(
            route.url + intake.path, intake.body, headers, first_byte_s=self._answer_s, idle_s=self._idle_s
        )
        is_taken = False
        try:
            async with contextlib.AsyncExitStack() as stack:
                answer = await self._unless_it_leaves(route.engine, stack.enter_async_context(asked))
                is_taken = answer.status < HTTPStatus.BAD_REQUEST
                self._dispatches.answered(dispatch, self._clock())
                self._learn(intake, answer)
                yield answer
        finally:
            if is_taken:
                self._dispatches.end(dispatch)  # its engine has heard of it, and settles what was reserved
            else:
                self._let_go(dispatch)

    def _let_go(self, dispatch: Dispatch) -> None:
        """It is not on its way any more, and has never got anywhere."""
        self._dispatches.end(dispatch)
        self._reservations.release(dispatch)

    def _learn(self, intake: Intake, answer: Answer) -> None:
        counted = answer.headers.get(names.PROMPT_TOKENS, "")
        if counted.isdecimal() and len(counted) <= MOST_DIGITS:
            self._hindsight.bytes_per_token.learn(intake.model, intake.ask, int(counted))

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


def _client_headers(route: Route, promised: Slo, account: Account) -> dict[str, str]:
    probable = {} if route.p_met is None else {names.P_MET: f"{route.p_met:.4f}"}
    durations = {names.TELEMETRY_AGE_MS: route.state_age_s, names.ROUTE_MS: account.route_s}
    return {
        **headers_from_slo(promised),
        names.REQUEST_ID: account.request_id,
        names.ENGINE: route.engine,
        names.ROUTE_REASON: route.reason,
        **probable,
        **_predictions(route),
        **_milliseconds(durations),
    }


def _predictions(route: Route) -> dict[str, str]:
    predictions = {
        names.PREDICTED_TTFT_MS: route.predicted_ttft_s,
        names.PREDICTED_TPOT_MS: route.predicted_tpot_s,
    }
    return _milliseconds(predictions)


def _milliseconds(durations_s: Mapping[str, float | None]) -> dict[str, str]:
    """As headers, those that are known."""
    return {name: f"{value_s * 1e3:.3f}" for name, value_s in durations_s.items() if value_s is not None}
