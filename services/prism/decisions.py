"""Deciding which engine has a request: read the fleet, choose, reserve; and what would be decided, for who only asks."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

import msgspec

from services.prism.cached_prefixes import CachedPrefixes
from services.prism.calibration import Calibration
from services.prism.dispatches import NO_LOAD, Dispatch, Dispatches, Load, Placed
from services.prism.fleet import Fleet, Pool
from services.prism.foresighted import foresighted
from services.prism.intake import Intake
from services.prism.metrics import Metrics
from services.prism.models_of_late import ModelsOfLate
from services.prism.pending import Pending
from services.prism.policy import Policy
from services.prism.route import NotNow, Route, choose, what_is_left
from services.prism.waiting_room import WaitingRoom
from shared.errors import ApiError, Overloaded, Unavailable
from shared.pacing import first_due_s

HELD_SHARE = 0.25
"""Of the time that a request gives for its first token may go in waiting for a moment that an engine can keep its promise in."""


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
    took_s: float
    """Reading the fleet, choosing and reserving; of the last time, where the request has waited."""


class Foretold(msgspec.Struct, frozen=True):
    """What would be decided; a refusal that says when to ask again in place of a route where there is none."""

    choice: Route | ApiError
    engines: Mapping[str, Route | ApiError]
    """Of each that has the model, as if it were the only one."""


class Decisions:
    """Those of one replica.

    Args:
        clock: seconds, that of the requests' arrivals.
        draw: random numbers in [0, 1).
        calibration: how predictions have come true, by which they are corrected.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        fleet: ReadsFleet,
        dispatches: Dispatches,
        metrics: Metrics,
        *,
        reservations: Reserves | None = None,
        prefixes: CachedPrefixes | None = None,
        calibration: Calibration | None = None,
        policy: Policy = foresighted,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.fleet = fleet
        self.dispatches = dispatches
        self._metrics = metrics
        self._reservations = reservations or Unshared()
        self._prefixes = CachedPrefixes() if prefixes is None else prefixes
        self._calibration = Calibration() if calibration is None else calibration
        self._policy = policy
        self._waiting = WaitingRoom()
        self._models = ModelsOfLate()
        self._turn = 0
        self._clock = clock
        self._draw = draw

    async def decide(self, intake: Intake, tried: frozenset[str] = frozenset()) -> Decision:
        """The engine for a request, by the fleet as it is now, and room for the request reserved there.

        Where none can keep its promise now but one is foreseen to soon, it waits for that, those of higher priority first.

        Args:
            tried: engines that have failed this request already.

        Raises:
            NotFound, Unavailable, Overloaded: as `choose`.
        """
        try:
            return await self._decide(intake, tried)
        except NotNow as refusal:
            decision = await self._held(intake, tried, refusal.retry_after_s)
            if decision is None:
                raise
            return decision

    def let_go(self, dispatch: Dispatch) -> None:
        """It is not on its way any more, and has never got anywhere."""
        self.dispatches.end(dispatch)
        self._reservations.release(dispatch)

    async def foretell(self, intake: Intake) -> Foretold:
        """What `decide` would say now, and of each engine alone; nothing is reserved and nothing sent.

        Raises:
            NotFound: as `choose`.
        """
        fleet = await self._read()
        loads = self.dispatches.loads(fleet, self._clock())
        choice = self._outlook(fleet, loads, intake)
        engines = {}
        for alone in _each_alone(fleet, intake.model):
            engines[alone.engines[0].state.engine] = self._outlook(alone, loads, intake)
            await asyncio.sleep(0)  # a large fleet must not hold up those who are served
        return Foretold(choice=choice, engines=engines)

    async def _held(self, intake: Intake, tried: frozenset[str], clears_in_s: float) -> Decision | None:
        """The decision on a request that waits for a better moment; None where that is not worth it, or does not come."""

        async def attempt() -> Decision | None:
            with contextlib.suppress(NotNow):
                return await self._decide(intake, tried)
            return None

        until_s = intake.arrived_at_s + HELD_SHARE * first_due_s(intake.slo, intake.ask.likely_tokens)
        if self._clock() + clears_in_s > until_s:
            return None
        return await self._waiting.hold(attempt, intake.standing.priority, until_s, self._clock)

    async def _decide(self, intake: Intake, tried: frozenset[str]) -> Decision:
        """As `decide`, at once.

        Another choice is made once if others have reserved much there meanwhile: by a fleet that shows what they did.
        """
        began_at_s = self._clock()
        route, dispatch, crowded = await self._place(intake, tried)
        if crowded is not None:
            try:
                route, dispatch, _ = await self._place(intake, tried, crowded)
            except BaseException:
                self.let_go(crowded.dispatch)
                raise
            if dispatch is not crowded.dispatch:
                self.dispatches.end(crowded.dispatch)
        took_s = self._clock() - began_at_s
        self._metrics.route_seconds.observe(took_s)
        self._metrics.routes.labels(route.engine, route.reason).inc()
        return Decision(route, dispatch, took_s)

    async def _place(
        self, intake: Intake, tried: frozenset[str], placed: Placed | None = None
    ) -> tuple[Route, Dispatch, Placed | None]:
        """Read, choose, reserve; and where others came to that engine between the first and the last, as what it is placed.

        Args:
            placed: where it is already; it stays unless another engine is chosen now.
        """
        fleet = await self._read()
        loads = self.dispatches.loads(fleet, self._clock(), placed=placed)
        route = self._choose(fleet, loads, intake, tried)
        assumed = loads.get(route.engine, NO_LOAD)  # as it was then: others decide meanwhile
        self._turn += 1
        if placed is not None and placed.dispatch.engine == route.engine:
            return route, placed.dispatch, None
        now_s = self._clock()
        left = what_is_left(intake.slo, now_s - intake.arrived_at_s)
        due_in_s = first_due_s(left, intake.ask.likely_tokens)
        own_tokens = intake.ask.prompt_tokens - route.cached_tokens
        dispatch = self.dispatches.send(route.engine, own_tokens, now_s, due_in_s)
        try:
            reserved = await self._reservations.reserve(dispatch, placed and placed.dispatch)
        except BaseException:
            self.let_go(dispatch)
            raise
        if reserved is None:
            return route, dispatch, None
        self.dispatches.reserved(dispatch)
        chosen = fleet.pool.view_of(route.engine)
        assert chosen is not None
        now_placed = Placed(dispatch, reserved)
        is_crowded = now_placed.moved_much(chosen.state, assumed)
        return route, dispatch, now_placed if is_crowded else None

    async def _read(self) -> Fleet:
        fleet = await self.fleet.read()
        self._models.note(fleet, self._clock())
        self._prefixes.take(fleet.engines)
        return fleet

    def _outlook(self, fleet: Fleet, loads: Mapping[str, Load], intake: Intake) -> Route | ApiError:
        try:
            return self._choose(fleet, loads, intake, frozenset())
        except (Overloaded, Unavailable) as refusal:
            return refusal

    def _choose(self, fleet: Fleet, loads: Mapping[str, Load], intake: Intake, tried: frozenset[str]) -> Route:
        now_s = self._clock()
        slo = what_is_left(intake.slo, now_s - intake.arrived_at_s)
        self._calibration.promises.look(now_s)
        return choose(
            fleet,
            loads,
            intake.ask,
            slo,
            model=intake.model,
            draw=self._draw(),
            turn=self._turn,
            tried=tried,
            models_of_late=self._models.all,
            policy=self._policy,
            cached_blocks=self._prefixes.cached_blocks(intake.ask.blocks),
            calibration=self._calibration,
        )


def _each_alone(fleet: Fleet, model: str) -> Iterator[Fleet]:
    return (msgspec.structs.replace(fleet, pool=Pool.of((engine,))) for engine in fleet.pool.having(model).views)
