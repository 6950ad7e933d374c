"""Every engine's model, and what one telemetry message teaches: the step between reading NATS and writing Redis."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from services.forecaster.engine_model import EngineModel, EngineModelState, Observation, Position
from shared.telemetry import RequestReport, StepReport, Telemetry


class Pulled(NamedTuple):
    """A telemetry message and its place in the stream."""

    position: Position
    telemetry: Telemetry


class Lesson(NamedTuple):
    """What a message taught of its engine."""

    engine: str
    observations: tuple[Observation, ...]
    requests: tuple[RequestReport, ...]


class Learner:
    """The models by engine; a message that was learned before teaches nothing.

    Attributes:
        models: by engine.
        messages_taken: messages given to learn, whether or not they taught anything.
        steps_ignored: reports of steps that no engine could have run.
    """

    def __init__(self) -> None:
        self.models: dict[str, EngineModel] = {}
        self.messages_taken = 0
        self.steps_ignored = 0

    def restore(self, states: Iterable[EngineModelState]) -> None:
        """Go on from persisted models."""
        self.models.update((state.engine, EngineModel.restored(state)) for state in states)

    @property
    def positions(self) -> Mapping[str, Position]:
        """The last message learned, by engine."""
        return {engine: model.position for engine, model in self.models.items()}

    def rewind(self, end: Position) -> None:
        """The stream ends here: whoever was beyond it had learned what the broker lost, and must not skip what follows."""
        for model in self.models.values():
            if model.position.stream == end.stream and model.position.sequence > end.sequence:
                model.position = end

    def learn(self, pulled: Pulled) -> Lesson | None:
        """Learn a message; None where it was learned before."""
        self.messages_taken += 1
        position, telemetry = pulled
        model = self.models.get(telemetry.engine) or EngineModel(telemetry.engine)
        if not model.advance(position, telemetry.lens, telemetry.sequence):
            return None
        self.models[telemetry.engine] = model
        steps = [report for report in telemetry.reports if isinstance(report, StepReport)]
        observations = tuple(seen for step in steps if (seen := model.observe(step)) is not None)
        self.steps_ignored += len(steps) - len(observations)
        requests = tuple(report for report in telemetry.reports if isinstance(report, RequestReport))
        return Lesson(telemetry.engine, observations, requests)
