"""What the forecaster keeps of one engine: its regressor, how well that foresees, and how far telemetry was learned."""

from typing import NamedTuple

from services.forecaster.model import MOST_SPEEDUP, StepTimeRegressor
from services.forecaster.plausible import problem_of
from services.forecaster.regressor_state import RegressorState
from shared.forecast import Forecast, ModelHealth
from shared.steptime import FEATURES
from shared.telemetry import StepReport
from shared.wire import Message

MOST_MESSAGES_BETWEEN = 1_000_000
"""Between the numbers of two messages of one lens that follow each other: hours of them."""
WINDOW_STEPS = 500
"""That the mean error looks back on."""
STEPS_UNTIL_WARMING = 10
STEPS_UNTIL_HEALTHY = 100
STEPS_OF_DRIFT = 100
HEALTHY_MAPE = 0.25
CAPACITY_FADES = 1e-4
"""A step: it halves in 7,000. A quiet hour must not make an engine look weak."""


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
    kind: str
    stream: str
    position: int
    lens: str
    lens_sequence: int
    messages_lost: int
    steps_learned: int
    inherited: bool
    mape: float | None
    capacity_tokens_per_s: float
    regressor: RegressorState | None
    """None before the first step."""


class EngineModel:
    """Learns one engine step by step.

    Attributes:
        kind: hardware class and model, as lens says; empty where it does not.
        position: the last message learned.
        messages_lost: gaps in the message numbers of one start of lens.
        steps_learned: steps learned since the engine was first seen.
        mape: mean |actual − predicted| / actual of late, a fraction; None before the model was trusted once.
    """

    def __init__(self, engine: str, kind: str = "", kin: RegressorState | None = None) -> None:
        """`kin`: what was learned of another engine of this kind, which stands in until this one is known."""
        self.engine = engine
        self.kind = kind
        self.position = Position("", 0)
        self.messages_lost = 0
        self.steps_learned = 0
        self.mape: float | None = None
        self._lens = ""
        self._lens_sequence = 0
        self._doubted_sequence: int | None = None
        self._regressor = StepTimeRegressor() if kin is None else StepTimeRegressor.like(kin)
        self._capacity_tokens_per_s = 0.0
        self._inherited = kin is not None

    def doubts(self, position: Position, lens: str, lens_sequence: int) -> bool:
        """Whether a new message's number is too far from the last one's to be believed; a second one beside it is.

        Without the doubt one wrong number would silence the engine, as all that follow it would count as old; without
        the end of it, whoever was away for long would never hear the engine again.
        """
        is_old = position.stream == self.position.stream and position.sequence <= self.position.sequence
        if is_old or lens != self._lens or abs(lens_sequence - self._lens_sequence) <= MOST_MESSAGES_BETWEEN:
            self._doubted_sequence = None
            return False
        doubted, self._doubted_sequence = self._doubted_sequence, lens_sequence
        if doubted is None or not 0 < lens_sequence - doubted <= MOST_MESSAGES_BETWEEN:
            return True
        self._lens_sequence = min(self._lens_sequence, doubted)
        return False

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
        if problem_of(report) is not None:
            return None
        shape, actual_s = report.shape, report.duration_ms / 1e3
        predicted_s = self._regressor.expect_s(shape)
        self._regressor.learn(shape, actual_s)
        self.steps_learned += 1
        if self.steps_learned > STEPS_UNTIL_WARMING:
            self._count_error(abs(actual_s - predicted_s) / actual_s)
            # One report of hardly any time would be a capacity for hours.
            rate_tokens_per_s = float(shape.num_tokens) / max(actual_s, predicted_s / MOST_SPEEDUP)
            self._capacity_tokens_per_s = max(rate_tokens_per_s, self._capacity_tokens_per_s * (1 - CAPACITY_FADES))
        return Observation(report.step, predicted_s, actual_s)

    def forecast(self, written_at_s: float) -> Forecast:
        """The engine's forecast; `written_at_s` on the clock of those who will judge its age."""
        model = self._regressor.step_model()
        return Forecast(
            engine=self.engine,
            written_at_s=written_at_s,
            health=self.health,
            steps_learned=self.steps_learned,
            mape=self.mape,
            coefficients_ms={name: value * 1e3 for name, value in zip(FEATURES, model.coefficients_s, strict=True)},
            uncertainty_ms=dict(zip(FEATURES, self._regressor.uncertainty_ms, strict=False)),
            floor_ms=model.floor_s * 1e3,
            decode=model.decode,
            mixed=model.mixed,
            capacity_tokens_per_s=self._capacity_tokens_per_s,
            doubt_ms=model.doubt_ms,
        )

    @property
    def example(self) -> RegressorState | None:
        """What another engine of this kind may start from; None while it is not known well."""
        return self._regressor.state if self.health is ModelHealth.HEALTHY else None

    @property
    def state(self) -> EngineModelState:
        """All that is kept, to persist."""
        return EngineModelState(
            engine=self.engine,
            kind=self.kind,
            stream=self.position.stream,
            position=self.position.sequence,
            lens=self._lens,
            lens_sequence=self._lens_sequence,
            messages_lost=self.messages_lost,
            steps_learned=self.steps_learned,
            inherited=self._inherited,
            mape=self.mape,
            capacity_tokens_per_s=self._capacity_tokens_per_s,
            regressor=self._regressor.state,
        )

    @classmethod
    def restored(cls, state: EngineModelState) -> "EngineModel":
        """The model that goes on from a persisted state.

        Raises:
            ValueError: the state is of other features than this version has.
        """
        model = cls(state.engine, state.kind)
        model.position = Position(state.stream, state.position)
        model.messages_lost = state.messages_lost
        model.steps_learned = state.steps_learned
        model.mape, model._inherited = state.mape, state.inherited
        model._lens, model._lens_sequence = state.lens, state.lens_sequence
        model._capacity_tokens_per_s = state.capacity_tokens_per_s
        if state.regressor is not None:
            model._regressor.restore(state.regressor)
        return model

    @property
    def health(self) -> ModelHealth:
        """How far the model can be trusted."""
        if self.steps_learned < STEPS_UNTIL_WARMING:
            return ModelHealth.WARMING if self._inherited else ModelHealth.COLD
        since_drift = self._regressor.steps_since_drift
        if since_drift is not None and since_drift <= STEPS_OF_DRIFT:
            return ModelHealth.DRIFTING
        if self.steps_learned < STEPS_UNTIL_HEALTHY or self.mape is None or self.mape > HEALTHY_MAPE:
            return ModelHealth.WARMING
        return ModelHealth.HEALTHY

    def _count_error(self, error: float) -> None:
        """The plain mean at first, then one that forgets what is older than the window."""
        counted = min(self.steps_learned - STEPS_UNTIL_WARMING, WINDOW_STEPS)
        before = self.mape or 0.0
        self.mape = before + (error - before) / counted
