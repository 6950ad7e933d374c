"""What lens and the routers know of an engine's steps: learned from its telemetry, which takes its time, or given. Pure."""

from collections import deque
from functools import cached_property
from typing import NamedTuple, Protocol

import msgspec

from loadgen.simulate.hardware import Speed
from services.forecaster.engine_model import EngineModel
from services.forecaster.outbox import BETWEEN_FORECASTS_S
from shared.forecast import Forecast, ModelHealth
from shared.steptime import PRIOR, StepModel, StepShape
from shared.telemetry import StepReport


class Known(NamedTuple):
    """A forecast as its readers use it."""

    model: StepModel
    health: ModelHealth
    mape: float | None
    steps_learned: int
    capacity_tokens_per_s: float
    written_at_s: float


class Knowledge(Protocol):
    """Of one engine."""

    def tell(self, report: StepReport, now_s: float) -> None:
        """A step was run."""

    def read(self, now_s: float) -> Known:
        """What readers know now."""


class Learned:
    """What the forecaster has learned from the steps whose telemetry is through.

    Args:
        delay_s: from the end of a step until readers have a forecast that knows of it.
    """

    def __init__(self, engine: str, delay_s: float) -> None:
        self._model = EngineModel(engine)
        self._delay_s = delay_s
        self._on_their_way: deque[tuple[float, StepReport]] = deque()
        self._known = Known(PRIOR, ModelHealth.COLD, None, 0, 0.0, -float("inf"))

    def tell(self, report: StepReport, now_s: float) -> None:
        """A step was run."""
        self._on_their_way.append((now_s + self._delay_s, report))

    def read(self, now_s: float) -> Known:
        """The newest forecast; there is none oftener than the forecaster writes one."""
        arrived_s = self._known.written_at_s
        if now_s - arrived_s < BETWEEN_FORECASTS_S:
            return self._known
        is_news = False
        while self._on_their_way and self._on_their_way[0][0] <= now_s:
            arrived_s, report = self._on_their_way.popleft()
            is_news |= self._model.observe(report) is not None
        if is_news:
            self._known = _known(self._model.forecast(arrived_s))
        return self._known


def _known(forecast: Forecast) -> Known:
    return Known(
        forecast.step_model(),
        forecast.health,
        forecast.mape,
        forecast.steps_learned,
        forecast.capacity_tokens_per_s,
        forecast.written_at_s,
    )


class Misjudged:
    """What is known, but for every step time that follows from it, which is so many times the one that would.

    Nobody tells the readers: health, capacity and what was measured of the errors stay as they were. Where nothing has been
    learned yet, nothing is wrong with it.
    """

    def __init__(self, knowledge: Knowledge, factor: float) -> None:
        self._knowledge = knowledge
        self._factor = factor
        self._true = self._known = knowledge.read(0.0)

    def tell(self, report: StepReport, now_s: float) -> None:
        """A step was run; what is learned from it is as good as ever."""
        self._knowledge.tell(report, now_s)

    def read(self, now_s: float) -> Known:
        """What readers take for true; the same value for as long as nothing is new."""
        known = self._knowledge.read(now_s)
        if known is not self._true:
            self._true, self._known = known, known._replace(model=_times(known.model, self._factor))
        return self._known


def _times(model: StepModel, factor: float) -> StepModel:
    return msgspec.structs.replace(
        model,
        coefficients_s=tuple([factor * coefficient_s for coefficient_s in model.coefficients_s]),
        floor_s=factor * model.floor_s,
        doubt_ms=tuple([tuple([factor * doubt_ms for doubt_ms in row]) for row in model.doubt_ms]),
    )


class TrueModel(StepModel, frozen=True, kw_only=True, dict=True):
    """A step model that is never wrong but for the noise; only its expected times mean anything."""

    speed: Speed

    @cached_property
    def law(self) -> None:
        """It follows none that could be written down."""

    def step_time_s(self, shape: StepShape) -> float:
        """Expected duration of one step, whose shape is of plain numbers."""
        return self.speed.expected_s(shape)


class Given:
    """The truth, and a data sheet's capacity, which knows of no slowing down."""

    def __init__(self, speed: Speed, capacity_tokens_per_s: float) -> None:
        self._model = TrueModel(coefficients_s=PRIOR.coefficients_s, floor_s=0.0, speed=speed)
        self._capacity_tokens_per_s = capacity_tokens_per_s

    def tell(self, report: StepReport, now_s: float) -> None:
        """It knows already."""

    def read(self, now_s: float) -> Known:
        """The truth now."""
        return Known(self._model, ModelHealth.HEALTHY, 0.0, 0, self._capacity_tokens_per_s, now_s)
