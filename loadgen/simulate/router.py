"""A simulated router replica: the services' routing and dispatch ledger, and the tries that a request has. Pure."""

import math
from collections.abc import Callable
from itertools import count
from typing import Protocol

from loadgen.outcome import FinishReason, Outcome
from loadgen.simulate.engine import Engine, EngineGone
from loadgen.simulate.events import Events
from loadgen.simulate.hardware import MODEL
from loadgen.simulate.job import Job
from loadgen.simulate.reservations import Reservations
from loadgen.workload import Request
from services.prism.cached_prefixes import CachedPrefixes
from services.prism.calibration import Calibration
from services.prism.dispatches import Dispatches
from services.prism.fleet import Fleet
from services.prism.output_lengths import OutputLengths
from services.prism.policy import Policy
from services.prism.retry_budget import RETRY_FLOOR, RETRY_SHARE, RetryBudget
from services.prism.route import MOST_TRIES, Route, choose, what_is_left
from shared.errors import ApiError, EngineFailed, Overloaded, Unavailable
from shared.pacing import first_due_s


class Engines(Protocol):
    """The fleet as a replica finds it, with what all replicas have reserved."""

    @property
    def reservations(self) -> Reservations:
        """Of all replicas."""

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
        has_text: whether prompts are more than lengths.
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
        has_text: bool = False,
    ) -> None:
        self._engines = engines
        self._policy = policy
        self._events = events
        self._draw = draw
        self._note = note
        self._text_bytes_per_token = text_bytes_per_token
        self._has_text = has_text
        self._prefixes = CachedPrefixes()
        self._dispatches = Dispatches(name)
        self._calibration = Calibration()
        self._lengths = OutputLengths()
        self._budget = RetryBudget(RETRY_SHARE, RETRY_FLOOR)
        self._turns = count()

    def take(self, request: Request) -> None:
        """A request has arrived."""
        self._budget.earn(self._events.now_s)
        lengths = self._lengths.of(MODEL)
        self._answer(Job(request, self, self._text_bytes_per_token, lengths, has_text=self._has_text))

    def begun(self, job: Job) -> None:
        """The first token of an answer is here."""
        self._dispatches.answered(job.sent, self._events.now_s)

    def ended(self, job: Job) -> None:
        """An answer is complete."""
        self._leave(job)
        outcome = job.ended(self._events.now_s)
        if job.promise is not None:
            self._calibration.promises.settle(job.promise, outcome.attained)
        self._learn(job, outcome)
        self._note(outcome)

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
            except Overloaded as problem:
                self._refuse(job, problem)
                return
            job.tried |= {route.engine}
            try:
                self._ask(job, route)
            except Overloaded as problem:
                self._dispatches.well(job.sent)
                self._let_go(job)
                job.full = True
                refusal: ApiError = problem
            except EngineGone:
                self._dispatches.failed(job.sent, self._events.now_s)
                self._let_go(job)
                refusal = Unavailable(f"{route.engine} is gone")
            except ApiError as problem:
                self._let_go(job)
                self._refuse(job, problem)
                return
            else:
                return
            if len(job.tried) == MOST_TRIES or not self._budget.spend(self._events.now_s):
                self._refuse(job, refusal)
                return

    def _choose(self, job: Job) -> Route:
        fleet, now_s = self._engines.view(), self._events.now_s
        self._calibration.promises.look(now_s)
        self._prefixes.take(fleet.engines)
        route = choose(
            fleet,
            self._dispatches.loads(fleet, now_s),
            job.ask,
            what_is_left(job.request.slo, now_s - job.request.arrival_s),
            model=MODEL,
            draw=self._draw(),
            turn=next(self._turns),
            tried=job.tried,
            policy=self._policy,
            cached_blocks=self._prefixes.cached_blocks(job.ask.blocks),
            calibration=self._calibration,
        )
        for name, behind in tuple(self._prefixes.behind.items()):
            self._prefixes.replace(name, behind, self._engines.named(name).text_held)
        return route

    def _learn(self, job: Job, outcome: Outcome) -> None:
        """As `services.prism.hindsight` does, from what the client sees."""
        route, dispatch = job.route, job.dispatch
        assert route is not None
        assert dispatch is not None
        assert job.first_token_s is not None
        if route.model_known:
            self._calibration.note(
                route.engine,
                route.predicted_ttft_s,
                job.first_token_s - dispatch.sent_at_s,
                route.predicted_tpot_s,
                outcome.tpot_s,
                route.correction,
            )
        if not job.request.ignore_eos and outcome.output_tokens is not None:
            self._lengths.learn(MODEL, "", outcome.output_tokens, cut=outcome.finish_reason == FinishReason.LENGTH)

    def _ask(self, job: Job, route: Route) -> None:
        now_s = self._events.now_s
        slo = what_is_left(job.request.slo, now_s - job.request.arrival_s)
        own_tokens = job.ask.prompt_tokens - route.cached_tokens
        due_in_s = first_due_s(slo, job.ask.likely_tokens)
        dispatch = job.dispatch = self._dispatches.send(route.engine, own_tokens, now_s, due_in_s)
        # In no time, so that nobody comes between the choice and this: there is never another choice to be made.
        self._engines.reservations.reserve(dispatch, self._dispatches.replica, now_s)
        self._dispatches.reserved(dispatch)
        self._promise(job, route)
        sequence = job.sequence_for(slo, now_s)
        self._engines.named(route.engine).offer(job, sequence, self._dispatches.replica, dispatch)

    def _promise(self, job: Job, route: Route) -> None:
        """As `services.prism.hindsight` does."""
        slo = job.request.slo
        if job.promise is not None:
            self._calibration.promises.settle(job.promise, None)
            job.promise = None
        if route.presumed_p_met is not None and slo.promises:
            job.promise = self._calibration.promises.make(
                route.presumed_p_met,
                job.request.arrival_s,
                model_known=route.model_known,
                first_token_due_s=math.inf if slo.ttft_s is None else job.request.arrival_s + slo.ttft_s,
                has_begun=lambda: job.first_token_s is not None,
            )

    def _leave(self, job: Job) -> None:
        self._dispatches.end(job.sent)

    def _fail(self, job: Job) -> None:
        self._dispatches.failed(job.sent, self._events.now_s)
        self._leave(job)

    def _let_go(self, job: Job) -> None:
        """Its engine has not taken it."""
        self._leave(job)
        assert job.dispatch is not None
        self._engines.reservations.release(job.dispatch.engine, job.dispatch.name(self._dispatches.replica))

    def _refuse(self, job: Job, problem: ApiError) -> None:
        self._note(job.ended(self._events.now_s, str(problem), problem.status))
