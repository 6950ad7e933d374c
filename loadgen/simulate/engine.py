"""A simulated engine and its lens: the services' scheduler over steps that take virtual time. Pure."""

from collections import deque
from collections.abc import Collection
from typing import NamedTuple

from loadgen.simulate.events import Events
from loadgen.simulate.hardware import Hardware, Speed
from loadgen.simulate.job import Job
from loadgen.simulate.knowledge import Knowledge
from services.lens.admission import check_queue, output_limit_tokens
from services.lens.announced import LEAST_ANNOUNCE_S, MOST_ANNOUNCE_S, announced
from services.lens.plan import PlanLimits, Planner
from services.lens.scheduler import STEPS_AHEAD, Progress, Scheduler
from services.lens.sequence import Sequence
from services.lens.step_report import step_report
from services.prism.dispatches import Dispatch
from shared.engine_state import EngineState
from shared.names import ENGINE_KEY_LIFETIME_S
from shared.step import NO_TOKEN, StepResult
from shared.steptime import StepModel

TOKEN = 0


class Lens(NamedTuple):
    """How the lens of each engine is set up."""

    planner: Planner
    target_s: float
    least_prefill_tokens: int
    max_waiting: int


class News(NamedTuple):
    """How an engine's state reaches the routers."""

    delay_s: float
    """From its announcement."""
    instant: bool
    """The routers see every engine as it is, without announcements and delays."""


class EngineGone(Exception):
    """The engine does not answer."""


class Engine:
    """One engine of the fleet.

    Args:
        knowledge: what lens knows of its steps.

    Attributes:
        speed: how long its steps really take.
        shown: what routers know of that.
        steps: how many it has run.
    """

    def __init__(
        self,
        name: str,
        hardware: Hardware,
        speed: Speed,
        knowledge: Knowledge,
        shown: Knowledge,
        lens: Lens,
        news: News,
        events: Events,
    ) -> None:
        self.name = name
        self.hardware = hardware
        self.speed = speed
        self.shown = shown
        self.steps = 0
        self._knowledge = knowledge
        self._limits = PlanLimits(hardware.info.max_step_tokens, lens.least_prefill_tokens, lens.target_s)
        self._lens = lens
        self._news = news
        self._events = events
        self._scheduler = Scheduler(hardware.info, boot_id=0, epoch=1, planner=lens.planner)
        self._model: StepModel = knowledge.read(events.now_s).model
        self._jobs: dict[Sequence, Job] = {}
        self._admitted: dict[str, int] = {}
        self._heard: list[str] = []
        """Dispatches since the last announcement."""
        self._settled: deque[tuple[float, list[str]]] = deque()
        """Those of announcements, with the instants at which routers first see them."""
        self._is_alive = True
        self._is_running = False
        self._announced: deque[tuple[float, EngineState]] = deque()
        """States with the instants at which routers first see them; only the last that is seen, and newer ones, are kept."""
        self._announce()

    def offer(self, job: Job, sequence: Sequence, replica: str, dispatch: Dispatch) -> None:
        """Take a request in.

        Raises:
            EngineGone: nobody is there.
            BadRequest: it can never be run here.
            Overloaded: too many wait already.
        """
        if not self._is_alive:
            raise EngineGone
        output_limit_tokens(sequence.prompt_ids, sequence.max_output_tokens, self.hardware.info, "prompt")
        check_queue(len(self._scheduler.waiting), self._lens.max_waiting)
        self._scheduler.add(sequence)
        self._jobs[sequence] = job
        self._admitted[replica] = max(self._admitted.get(replica, 0), dispatch.number)
        self._heard.append(dispatch.name(replica))
        if not self._scheduler.in_flight:
            self._send_ahead()

    @property
    def text_held(self) -> Collection[str]:
        """The blocks of text that its cache holds."""
        return self._scheduler.text_blocks.held

    def die(self) -> list[Job]:
        """Break off; returns what it was answering."""
        self._is_alive = False
        jobs = list(self._jobs.values())
        self._jobs.clear()
        return jobs

    def reseed(self, seed: int) -> None:
        """Let the noise of its steps be another from now on."""
        self.speed.times = self.hardware.times(seed)

    def state_at(self, now_s: float) -> EngineState | None:
        """The state that routers see now; None where the engine's key has expired, or is not there yet."""
        if self._news.instant:
            return self._state(now_s) if self._is_alive else None
        while len(self._announced) > 1 and self._announced[1][0] <= now_s:
            self._announced.popleft()
        if not self._announced:
            return None
        since_s, state = self._announced[0]
        return state if since_s <= now_s < since_s + ENGINE_KEY_LIFETIME_S else None

    def settled_at(self, now_s: float) -> list[str]:
        """The dispatches that the state which routers see now is the first to show."""
        settled = []
        while self._settled and (self._news.instant or self._settled[0][0] <= now_s):
            settled += self._settled.popleft()[1]
        if self._news.instant:
            settled += self._heard
            self._heard = []
        return settled

    def _send_ahead(self) -> None:
        """Plan as the step loop does, then let the device run if it waited for this."""
        scheduler, now_s = self._scheduler, self._events.now_s
        while len(scheduler.in_flight) < STEPS_AHEAD and scheduler.plan(self._model, self._limits, now_s) is not None:
            pass
        if not self._is_running:
            self._start_step()

    def _start_step(self) -> None:
        in_flight = self._scheduler.in_flight
        self._is_running = bool(in_flight)
        if in_flight:
            began_s = self._events.now_s
            # What has only slots to release keeps the device for no time worth counting.
            duration_s = self.speed.next_s(in_flight[0].shape) if in_flight[0].allotments else 0.0
            self._events.at(began_s + duration_s, lambda: self._end_step(began_s))

    def _end_step(self, began_s: float) -> None:
        if not self._is_alive:
            return
        now_s, plan = self._events.now_s, self._scheduler.in_flight[0].plan
        result = StepResult(
            boot_id=0,
            epoch=plan.epoch,
            step=plan.step,
            duration_s=now_s - began_s,
            sampled_ids=tuple([TOKEN if chunk.sample else NO_TOKEN for chunk in plan.chunks]),
        )
        sent, progress = self._scheduler.apply(result, now_s)
        if sent.allotments:
            self.steps += 1
            self._knowledge.tell(step_report(sent, result, start_s=began_s, wall_s=now_s - began_s), now_s)
        self._start_step()
        self._hand_out(progress)
        self._send_ahead()

    def _hand_out(self, progress: list[Progress]) -> None:
        for sequence, _ in progress:
            if len(sequence.output_ids) == 1:
                job = self._jobs[sequence]
                job.first_token_s = self._events.now_s
                job.asker.begun(job)
            if sequence.outcome is not None:
                job = self._jobs.pop(sequence)
                job.asker.ended(job)

    def _announce(self) -> None:
        """Say what the engine does if that has changed, or for a while nothing was said; read what is forecast of it."""
        if not self._is_alive:
            return
        now_s = self._events.now_s
        state = self._state(now_s)
        if not self._announced or _is_due(self._announced[-1][1], state):
            # Who is there from the beginning is known of from the beginning.
            seen_s = now_s + self._news.delay_s if now_s > 0.0 else 0.0
            self._announced.append((seen_s, state))
            self._settled.append((seen_s, self._heard))
            self._heard = []
            self.state_at(now_s)  # forgets what nobody will see again
            self._model = self._knowledge.read(now_s).model
        self._events.at(now_s + LEAST_ANNOUNCE_S, self._announce)

    def _state(self, now_s: float) -> EngineState:
        return announced(
            self._scheduler,
            self._limits,
            engine=self.name,
            url="",
            serving=True,
            draining=False,
            admitted=self._admitted,
            now_s=now_s,
            at_s=now_s,
        )


def _is_due(last: EngineState, state: EngineState) -> bool:
    if state.announced_at_s - last.announced_at_s >= MOST_ANNOUNCE_S:
        return True
    return any(
        getattr(state, field) != getattr(last, field) for field in state.__struct_fields__ if field != "announced_at_s"
    )
