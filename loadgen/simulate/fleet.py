"""The simulated fleet: who is in it, what befalls it, and how routers see it. Pure."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from loadgen.simulate.engine import Engine
from loadgen.simulate.knowledge import Known
from loadgen.simulate.reservations import Reservations
from services.prism.fleet import EngineView, Fleet, Pool
from shared.engine_state import EngineState

Joins = Callable[[str, str], Engine]
"""Makes an engine from its name and the name of its hardware."""


class Slow(NamedTuple):
    """From an instant on, steps take so many times longer than the hardware's should."""

    at_s: float
    engine: str
    slowness: float


class Die(NamedTuple):
    """The engine breaks off what it does, and never answers again."""

    at_s: float
    engine: str


class Join(NamedTuple):
    """A new engine comes, and nothing is known of it."""

    at_s: float
    engine: str
    hardware: str


class Fate(NamedTuple):
    """From an instant on, the noise of its steps is another; nothing else is."""

    at_s: float
    engine: str
    seed: int


Incident = Slow | Die | Join | Fate


class SimulatedFleet:
    """All engines by name.

    Attributes:
        reservations: what routers have reserved on them.
    """

    def __init__(self, engines: Iterable[Engine], now_s: Callable[[], float], join: Joins) -> None:
        self._engines = {engine.name: engine for engine in sorted(engines, key=lambda engine: engine.name)}
        self._now_s = now_s
        self._join = join
        self._latest: dict[str, tuple[EngineState, Known, EngineView]] = {}
        self.reservations = Reservations()

    @property
    def engines(self) -> Iterable[Engine]:
        """All there ever were."""
        return self._engines.values()

    def named(self, name: str) -> Engine:
        """The engine of this name."""
        return self._engines[name]

    def view(self) -> Fleet:
        """The fleet as a router that reads now finds it."""
        now_s = self._now_s()
        engines = tuple(self._views(now_s))
        return Fleet(pool=Pool.of(engines), reserved=self.reservations.totals, now_s=now_s, age_s=0.0)

    def befall(self, incident: Incident) -> None:
        """Let something happen to it; what an engine was answering breaks off with it."""
        match incident:
            case Slow(_, engine, slowness):
                self._engines[engine].speed.slowness = slowness
            case Fate(_, engine, seed):
                self._engines[engine].reseed(seed)
            case Die(_, engine):
                for job in self._engines[engine].die():
                    job.asker.broken(job)
            case Join(_, engine, hardware):
                joined = {**self._engines, engine: self._join(engine, hardware)}
                self._engines = dict(sorted(joined.items()))

    def _views(self, now_s: float) -> Iterator[EngineView]:
        for engine in self._engines.values():
            state = engine.state_at(now_s)
            if settled := engine.settled_at(now_s):
                self.reservations.settle(engine.name, settled, now_s)
            if state is None:
                continue
            yield self._view_of(state, engine.shown.read(now_s))

    def _view_of(self, state: EngineState, known: Known) -> EngineView:
        """The same value for as long as nothing is new, as the router's own mirror has it."""
        latest = self._latest.get(state.engine)
        if latest is None or latest[0] is not state or latest[1] is not known:
            view = EngineView(
                state=state,
                model=known.model,
                health=known.health,
                mape=known.mape,
                steps_learned=known.steps_learned,
                capacity_tokens_per_s=known.capacity_tokens_per_s,
                forecast_written_at_s=known.written_at_s,
            )
            latest = self._latest[state.engine] = (state, known, view)
        return latest[2]
