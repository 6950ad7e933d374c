"""What the forecaster keeps of one engine: its regressor, how well that foresees, and how far telemetry was learned."""

from typing import NamedTuple

from river.metrics import MAPE
from river.stats import RollingQuantile
from river.utils import Rolling

from services.forecaster.features import FEATURE_SCALES, features
from services.forecaster.model import RegressorState, StepTimeRegressor
from shared.forecast import Forecast, ModelHealth, ResidualQuantiles
from shared.steptime import PRIOR
from shared.telemetry import StepReport
from shared.wire import Message

WINDOW_STEPS = 500
STEPS_UNTIL_WARMING = 10
STEPS_UNTIL_HEALTHY = 100
HEALTHY_MAPE = 0.25
QUANTILES = {"p05": 0.05, "p50": 0.5, "p95": 0.95}
EXTREMES_FADE = 1e-4
"""A step, of the shortest step and the highest rate: they halve in 7,000 steps. A quiet hour must not make an engine
look weak, nor a busy one hide how short its steps can be; a window of 500 steps would do both."""
FLOOR_OF_SHORTEST = 0.5
"""The floor only keeps extrapolation from absurd times: too low does no harm, too high makes a quiet engine look slow."""


class Position(NamedTuple):
    """A place in the telemetry: sequence numbers mean nothing across streams, so the stream's creation goes with them."""

    stream: str
    """When the stream was created, as the broker says it."""
    sequence: int


class Observation(NamedTuple):
    """One step: what was foreseen before it was learned, and what it took."""

    step: int
    predicted_s: float
    actual_s: float


class EngineModelState(Message, frozen=True, kw_only=True):
    """An engine's model as it persists in Redis; position and model are one value, so that no step is learned twice."""

    engine: str
    stream: str
    position: int
    lens: str
    lens_sequence: int
    messages_lost: int
    steps_learned: int
    shortest_s: float
    capacity_tokens_per_s: float
    ratios: tuple[float, ...]
    """Actual over predicted of the latest steps, oldest first."""
    regressor: RegressorState


class EngineModel:
    """Learns one engine step by step.

    Attributes:
        position: the last message learned.
        messages_lost: gaps in the message numbers of one start of lens.
        steps_learned: steps learned since the engine was first seen.
    """

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.position = Position("", 0)
        self.messages_lost = 0
        self.steps_learned = 0
        self._lens = ""
        self._lens_sequence = 0
        self._regressor = StepTimeRegressor(scales=FEATURE_SCALES)
        self._shortest_s = 0.0
        self._capacity_tokens_per_s = 0.0
        self._mape = Rolling(MAPE, window_size=WINDOW_STEPS)
        self._quantiles = {name: RollingQuantile(q, WINDOW_STEPS) for name, q in QUANTILES.items()}

    def advance(self, position: Position, lens: str, lens_sequence: int) -> bool:
        """Move on to this message; False, and nothing moves, where it was learned before."""
        if position.stream == self.position.stream and position.sequence <= self.position.sequence:
            return False
        if lens == self._lens:
            if lens_sequence <= self._lens_sequence:
                return False
            self.messages_lost += lens_sequence - self._lens_sequence - 1
        self.position = position
        self._lens, self._lens_sequence = lens, lens_sequence
        return True

    def observe(self, report: StepReport) -> Observation | None:
        """Foresee the step, then learn it; None, and nothing learned, where no engine could have run it so."""
        terms = features(report)
        if terms is None:
            return None
        actual_s = report.duration_ms / 1e3
        if self.steps_learned < STEPS_UNTIL_WARMING:
            predicted_s = float(PRIOR.step_time_s(report.shape))
        else:
            predicted_s = max(self._regressor.predict_one(terms), self._floor_s)
            self._count_ratio(actual_s / predicted_s)
        self._regressor.learn_one(terms, actual_s)
        self.steps_learned += 1
        self._note_extremes(actual_s, report.prefill_tokens + report.decode_tokens)
        return Observation(report.step, predicted_s, actual_s)

    def forecast(self, written_at_s: float) -> Forecast:
        """The engine's forecast; `written_at_s` on the clock of those who will judge its age."""
        return Forecast(
            engine=self.engine,
            written_at_s=written_at_s,
            health=self._health,
            steps_learned=self.steps_learned,
            mape=self.mape,
            coefficients_ms={name: value * 1e3 for name, value in self._regressor.coefficients.items()},
            uncertainty_ms={name: value * 1e3 for name, value in self._regressor.uncertainty.items()},
            floor_ms=self._floor_s * 1e3,
            residual_quantiles=ResidualQuantiles(**{name: q.get() or 1.0 for name, q in self._quantiles.items()}),
            capacity_tokens_per_s=self._capacity_tokens_per_s,
        )

    @property
    def mape(self) -> float | None:
        """Mean |actual − predicted| / actual over the window, a fraction; None before the model was trusted once."""
        if not self._mape.window:
            return None
        percent: float = self._mape.obj.get()  # type: ignore[no-untyped-call]
        return percent / 100

    @property
    def state(self) -> EngineModelState:
        """All that is kept, to persist."""
        return EngineModelState(
            engine=self.engine,
            stream=self.position.stream,
            position=self.position.sequence,
            lens=self._lens,
            lens_sequence=self._lens_sequence,
            messages_lost=self.messages_lost,
            steps_learned=self.steps_learned,
            shortest_s=self._shortest_s,
            capacity_tokens_per_s=self._capacity_tokens_per_s,
            ratios=tuple(ratio for (ratio, _), _ in self._mape.window),
            regressor=self._regressor.state,
        )

    @classmethod
    def restored(cls, state: EngineModelState) -> "EngineModel":
        """The model that goes on from a persisted state."""
        model = cls(state.engine)
        model.position = Position(state.stream, state.position)
        model.messages_lost = state.messages_lost
        model.steps_learned = state.steps_learned
        model._lens, model._lens_sequence = state.lens, state.lens_sequence
        model._shortest_s = state.shortest_s
        model._capacity_tokens_per_s = state.capacity_tokens_per_s
        model._regressor.restore(state.regressor)
        for ratio in state.ratios:
            model._count_ratio(ratio)
        return model

    @property
    def _health(self) -> ModelHealth:
        if self.steps_learned < STEPS_UNTIL_WARMING:
            return ModelHealth.COLD
        mape = self.mape
        if self.steps_learned < STEPS_UNTIL_HEALTHY or mape is None or mape > HEALTHY_MAPE:
            return ModelHealth.WARMING
        return ModelHealth.HEALTHY

    @property
    def _floor_s(self) -> float:
        return self._shortest_s * FLOOR_OF_SHORTEST

    def _count_ratio(self, ratio: float) -> None:
        """Where the prediction is 1 and the actual time the ratio, MAPE is the same as of the two times."""
        self._mape.update(ratio, 1.0)
        for quantile in self._quantiles.values():
            quantile.update(ratio)

    def _note_extremes(self, actual_s: float, tokens: int) -> None:
        faded_shortest_s = self._shortest_s * (1 + EXTREMES_FADE) if self._shortest_s else actual_s
        self._shortest_s = min(actual_s, faded_shortest_s)
        self._capacity_tokens_per_s = max(tokens / actual_s, self._capacity_tokens_per_s * (1 - EXTREMES_FADE))
