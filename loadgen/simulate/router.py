"""A simulated router replica: the services' routing and dispatch ledger, and the tries that a request has. Pure."""

from collections.abc import Callable
from itertools import count
from typing import Protocol

from loadgen.outcome import Outcome
from loadgen.simulate.engine import Engine, EngineGone
from loadgen.simulate.events import Events
from loadgen.simulate.hardware import MODEL
from loadgen.simulate.job import Job
from loadgen.workload import Request
from services.prism.dispatches import Dispatches
from services.prism.fleet import Fleet
from services.prism.policy import Policy
from services.prism.retry_budget import RETRY_FLOOR, RETRY_SHARE, RetryBudget
from services.prism.route import MOST_TRIES, Route, choose, what_is_left
from shared.errors import ApiError, EngineFailed, Overloaded, Unavailable


class Engines(Protocol):
    """The fleet as a replica finds it."""

    def view(self) -> Fleet:
        """What is known of it now."""

    def named(self, name: str) -> Engine:
        """Whoever answers by that name."""


class Replica:
    """One router.

    Args:
        draw: random numbers in [0, 1).
        note: takes what became of each request.
        text_bytes_per_token: of prompts, which the router estimates tokens from.
    """

    def __init__(
        self,
        name: str,
        engines: Engines,
        policy: Policy,
        events: Events,
        *,
        draw: Callable[[], float],
        note: Callable[[Outcome], None],
        text_bytes_per_token: float,
    ) -> None:
        self._engines = engines
        self._policy = policy
        self._events = events
        self._draw = draw
        self._note = note
        self._text_bytes_per_token = text_bytes_per_token
        self._dispatches = Dispatches(name)
        self._budget = RetryBudget(RETRY_SHARE, RETRY_FLOOR)
        self._turns = count()

    def take(self, request: Request) -> None:
        """A request has arrived."""
        self._budget.earn(self._events.now_s)
        self._answer(Job(request, self, self._text_bytes_per_token))

    def begun(self, job: Job) -> None:
        """The first token of an answer is here."""
        self._dispatches.answered(job.sent, self._events.now_s)

    def ended(self, job: Job) -> None:
        """An answer is complete."""
        self._leave(job)
        self._note(job.ended(self._events.now_s))

    def broken(self, job: Job) -> None:
        """The engine has broken off: another is asked, unless the client has seen something of the answer."""
        assert job.route is not None
        self._fail(job)
        if job.first_token_s is not None:
            self._refuse(job, EngineFailed(f"{job.route.engine} broke off"))
        elif len(job.tried) == MOST_TRIES or not self._budget.spend(self._events.now_s):
            self._refuse(job, Unavailable("the engines could not answer"))
        else:
            self._answer(job)

    def _answer(self, job: Job) -> None:
        """Ask engines until one takes the request, as `services.prism.router` does."""
        while True:
            try:
                route = job.route = self._choose(job)
            except Unavailable as problem:
                self._refuse(job, Overloaded("every engine is full") if job.full else problem)
                return
            job.tried |= {route.engine}
            try:
                self._ask(job, route)
            except Overloaded as problem:
                self._dispatches.well(job.sent)
                self._leave(job)
                job.full = True
                refusal: ApiError = problem
            except EngineGone:
                self._fail(job)
                refusal = Unavailable(f"{route.engine} is gone")
            except ApiError as problem:
                self._leave(job)
                self._refuse(job, problem)
                return
            else:
                return
            if len(job.tried) == MOST_TRIES or not self._budget.spend(self._events.now_s):
                self._refuse(job, refusal)
                return

    def _choose(self, job: Job) -> Route:
        fleet, now_s = self._engines.view(), self._events.now_s
        loads = {engine.state.engine: self._dispatches.load(engine.state, now_s) for engine in fleet.engines}
        return choose(
            fleet,
            loads,
            job.ask,
            what_is_left(job.request.slo, now_s - job.request.arrival_s),
            model=MODEL,
            draw=self._draw(),
            turn=next(self._turns),
            tried=job.tried,
            policy=self._policy,
        )

    def _ask(self, job: Job, route: Route) -> None:
        now_s = self._events.now_s
        dispatch = job.dispatch = self._dispatches.send(route.engine, job.ask.prompt_tokens, now_s)
        sequence = job.sequence_for(what_is_left(job.request.slo, now_s - job.request.arrival_s), now_s)
        self._engines.named(route.engine).offer(job, sequence, self._dispatches.replica, dispatch)

    def _leave(self, job: Job) -> None:
        self._dispatches.end(job.sent)

    def _fail(self, job: Job) -> None:
        self._dispatches.failed(job.sent, self._events.now_s)
        self._leave(job)

    def _refuse(self, job: Job, problem: ApiError) -> None:
        self._note(job.ended(self._events.now_s, str(problem), problem.status))
