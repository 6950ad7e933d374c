"""The models of the partitions that this replica holds, and what one telemetry message teaches: between NATS and Redis."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from services.forecaster.engine_model import EngineModel, Observation, Position
from services.forecaster.intake import Reading, SetAside, absurd_number, breaking, impossible, too_many_engines
from services.forecaster.regressor_state import RegressorState
from services.forecaster.sharing import Lease
from shared.forecast import ModelHealth
from shared.telemetry import RequestReport, StepReport, Telemetry

BROKEN_MODEL = (ArithmeticError, ValueError, LookupError, TypeError)
"""What a model raises in whose numbers something is wrong."""


class Arrived(NamedTuple):
    """A telemetry message, its place in the stream, and the lease under which it was asked for."""

    lease: Lease
    position: Position
    engine: str
    """On whose subject it came."""
    reading: Reading


class Lesson(NamedTuple):
    """What a message taught of its engine."""

    lease: Lease
    position: Position
    engine: str
    is_news: bool = False
    """Whether anything is known anew of the engine, and be it that it is idle."""
    observations: tuple[Observation, ...] = ()
    requests: tuple[RequestReport, ...] = ()
    set_aside: tuple[SetAside, ...] = ()


class Held:
    """A partition while this replica holds it.

    Attributes:
        lease: the right to learn it.
        position: the last message taken, whatever became of it; goes with the models into Redis.
        models: by engine.
    """

    def __init__(self, lease: Lease, position: Position, models: Iterable[EngineModel]) -> None:
        self.lease = lease
        self.position = position
        self.models = {model.engine: model for model in models}


class Learner:
    """The models by partition. A message that was learned before teaches nothing, nor does one of a lease that has ended.

    Attributes:
        partitions: so many there are; what is held was taken out of that number.
        held: what this replica holds, by partition.
        messages_taken: messages given to learn, whether or not they taught anything.
        messages_fenced: those of them whose lease had ended.
        duplicates: messages whose number in their lens's count had come before, by engine.
        engines_refused: messages of engines beyond the most that are learned.
    """

    def __init__(self, most_engines: int) -> None:
        self.partitions = 0
        self.held: dict[int, Held] = {}
        self.messages_taken = 0
        self.messages_fenced = 0
        self.duplicates: Counter[str] = Counter()
        self._most_engines = most_engines

    @property
    def leases(self) -> Mapping[int, Lease]:
        """Of what is held, by partition."""
        return {partition: held.lease for partition, held in self.held.items()}

    @property
    def models(self) -> Iterator[EngineModel]:
        """Of all engines of all partitions held."""
        return (model for held in self.held.values() for model in held.models.values())

    @property
    def num_engines(self) -> int:
        """Engines whose models are held."""
        return sum(len(held.models) for held in self.held.values())

    def take(self, lease: Lease, position: Position, models: Iterable[EngineModel]) -> None:
        """Go on from what was stored of a partition."""
        self.held[lease.partition] = Held(lease, position, models)

    def renew(self, lease: Lease) -> None:
        """Go on from memory, under another lease; does nothing where the partition is not held any more."""
        if (held := self.held.get(lease.partition)) is not None:
            held.lease = lease

    def drop(self, partition: int) -> None:
        """The partition is another's now; does nothing where it is not held."""
        if (held := self.held.pop(partition, None)) is not None:
            for engine in held.models:
                self.duplicates.pop(engine, None)

    def rewind(self, partition: int, end: Position) -> None:
        """The stream ends here: who was beyond had learned what the broker lost, and must not skip what follows."""
        held = self.held[partition]
        held.position = min(held.position, end) if held.position.stream == end.stream else held.position
        for model in held.models.values():
            if model.position.stream == end.stream and model.position.sequence > end.sequence:
                model.position = end

    def begin_anew(self, partition: int, engine: str) -> None:
        """The engine's model is broken: have one in its place that knows nothing but how far telemetry was learned."""
        models = self.held[partition].models
        broken, models[engine] = models[engine], EngineModel(engine, models[engine].kind)
        models[engine].position = broken.position

    def learn(self, arrived: Arrived) -> Lesson | None:
        """Learn a message; None where it was learned before, or is not this replica's to learn."""
        self.messages_taken += 1
        lease, position, engine, (telemetry, set_aside) = arrived
        held = self.held.get(lease.partition)
        if held is None or held.lease != lease:
            self.messages_fenced += 1
            return None
        if position.stream == held.position.stream and position.sequence <= held.position.sequence:
            return None
        held.position = position
        if telemetry is None:
            return Lesson(lease, position, engine, set_aside=set_aside)
        model = self._model(held, engine, telemetry.kind)
        if model is None:
            refused = too_many_engines(engine, self._most_engines)
            return Lesson(lease, position, engine, set_aside=(*set_aside, refused))
        if model.doubts(position, telemetry.lens, telemetry.sequence):
            return Lesson(lease, position, engine, set_aside=(*set_aside, absurd_number(telemetry.sequence)))
        if not model.advance(position, telemetry.lens, telemetry.sequence):
            self._count_duplicate(model, position)
            return Lesson(lease, position, engine, set_aside=set_aside)
        return self._taught(arrived, telemetry)

    def _model(self, held: Held, engine: str, kind: str) -> EngineModel | None:
        model = held.models.get(engine)
        if model is None and self.num_engines >= self._most_engines:
            return None
        if model is None or (not model.steps_learned and model.kind != kind):
            model = held.models[engine] = self._new_model(engine, kind)
        model.kind = kind or model.kind
        return model

    def _new_model(self, engine: str, kind: str) -> EngineModel:
        try:
            return EngineModel(engine, kind, self._kin(kind))
        except BROKEN_MODEL:  # its kin's, which will show it itself
            return EngineModel(engine, kind)

    def _kin(self, kind: str) -> RegressorState | None:
        """Of the engine of this kind that was learned from most steps, among those that this replica holds."""
        alike = (model for model in self.models if kind and model.kind == kind and model.health is ModelHealth.HEALTHY)
        best = max(alike, key=lambda model: model.steps_learned, default=None)
        return best.example if best is not None else None

    def _count_duplicate(self, model: EngineModel, position: Position) -> None:
        """Unless the engine is only ahead of its partition, as where one of its neighbours is learned anew."""
        if position.stream != model.position.stream or position.sequence > model.position.sequence:
            self.duplicates[model.engine] += 1

    def _taught(self, arrived: Arrived, telemetry: Telemetry) -> Lesson:
        lease, position, engine, (_, set_aside) = arrived
        observations: list[Observation] = []
        requests: list[RequestReport] = []
        for report in telemetry.reports:
            if isinstance(report, StepReport):
                observation = self._observed(arrived, telemetry, report)
                if isinstance(observation, SetAside):
                    set_aside = (*set_aside, observation)
                else:
                    observations.append(observation)
            elif isinstance(report, RequestReport):
                requests.append(report)
        return Lesson(lease, position, engine, True, tuple(observations), tuple(requests), set_aside)

    def _observed(self, arrived: Arrived, telemetry: Telemetry, step: StepReport) -> Observation | SetAside:
        """A model that breaks on a step is begun anew: half of the step may be in it, and the next ones must be learned."""
        models, engine = self.held[arrived.lease.partition].models, arrived.engine
        try:
            observation = models[engine].observe(step)
        except BROKEN_MODEL as error:
            models[engine] = EngineModel(engine, telemetry.kind)
            models[engine].advance(arrived.position, telemetry.lens, telemetry.sequence)
            return breaking(step, error)
        return impossible(step) if observation is None else observation
