"""The fleet in this process: what has been read of it, kept up with each read of what has changed. Pure."""

import struct
from collections.abc import Mapping
from typing import Generic, TypeVar

import msgspec
import numpy as np
import structlog

from services.prism.engine_row import NUMBERS, Array, rows_in
from services.prism.fleet import NOBODY, EngineView, Pool
from services.prism.pending import Pending
from shared.engine_state import EngineState
from shared.fleet_scripts import Changes
from shared.forecast import Forecast
from shared.names import ENGINE_KEY_LIFETIME_S, engine_key, forecast_key, reserved_key
from shared.steptime import PRIOR, StepModel
from shared.wire import Message, UnreadableMessage, decode

log = structlog.get_logger()

EXPIRED_AFTER_US = ENGINE_KEY_LIFETIME_S * 1_000_000 + 10_000
"""As Redis has it, which counts in milliseconds: a reader that forgot an engine before would miss what it is not told again."""

_ENGINE, _FORECAST, _RESERVED = engine_key(""), forecast_key(""), reserved_key("")
_text = msgspec.msgpack.Decoder(str | bool)
_totals = msgspec.msgpack.Decoder(list[int])


class Mirror:
    """Every engine that has not expired, and what is reserved on each."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        """In order of their last signs of life, so that who has expired comes first."""
        self._views: dict[str, EngineView] = {}
        """In order of names."""
        self._pool: Pool | None = NOBODY
        self._names: tuple[str, ...] = ()
        self._models: tuple[str, ...] = ()
        self._places: dict[str, int] = {}
        """Of the views, by name; empty where they must be found anew, since others are there, or have other models."""
        self._numbers: Array = np.empty((0, NUMBERS))
        """A row for each view."""
        self._reserved: dict[str, Pending] = {}
        self._reserved_shown: Mapping[str, Pending] | None = {}

    @property
    def pool(self) -> Pool:
        """All of them, as they are now."""
        if self._pool is None:
            if not self._places:
                self._line_up()
            rows = rows_in(self._numbers.copy())
            self._pool = Pool(tuple(self._views.values()), self._names, self._models, rows)
        return self._pool

    @property
    def reserved(self) -> Mapping[str, Pending]:
        """By engine, where there is something."""
        if self._reserved_shown is None:
            self._reserved_shown = self._reserved.copy()
        return self._reserved_shown

    def take(self, changes: Changes, *, forgiving: bool) -> None:
        """Take in what has been read.

        Args:
            forgiving: whether engines may be missing only because Redis was away: none is dropped.
        """
        if changes.is_whole:
            self._clear(but=changes.keys, forgiving=forgiving)
        # Who comes anew is known before its forecast is taken in, though its state may be marked later than that.
        for key, value in sorted(zip(changes.keys, changes.values, strict=True), key=_is_no_state):
            if key.startswith(_ENGINE):
                self._take_state(key.removeprefix(_ENGINE), _text_of(value), changes.now_us, forgiving=forgiving)
            elif key.startswith(_FORECAST):
                self._take_forecast(key.removeprefix(_FORECAST), _text_of(value))
            elif key.startswith(_RESERVED):
                self.note_reserved(key.removeprefix(_RESERVED), Pending.of_totals(_totals.decode(value)))
        if changes.is_whole:
            self._records = dict(sorted(self._records.items(), key=lambda item: item[1].alive_us))
        if not forgiving:
            self._drop_expired(changes.now_us)

    def note_reserved(self, engine: str, reserved: Pending) -> None:
        """What is reserved on an engine now."""
        if reserved.requests:
            self._reserved[engine] = reserved
        else:
            self._reserved.pop(engine, None)
        self._reserved_shown = None

    def _clear(self, but: list[str], *, forgiving: bool) -> None:
        self._reserved.clear()
        self._reserved_shown = None
        there = {key.removeprefix(_ENGINE) for key in but if key.startswith(_ENGINE)}
        if not forgiving:
            for engine in self._records.keys() - there:
                self._drop(engine)

    def _take_state(self, engine: str, value: str | bool, now_us: int, *, forgiving: bool) -> None:
        if isinstance(value, bool):
            if not forgiving:
                self._drop(engine)
            return
        record = self._records.pop(engine, None) or _Record(engine)
        self._records[engine] = record
        self._show(engine, record.take_state(value, now_us))

    def _take_forecast(self, engine: str, value: str | bool) -> None:
        record = self._records.get(engine)
        if record is not None and isinstance(value, str):
            self._show(engine, record.take_forecast(value))

    def _show(self, engine: str, view: EngineView | None) -> None:
        if view is None or self._views.get(engine) is view:
            return
        self._pool = None
        if (place := self._places.get(engine)) is not None and self._models[place] == view.state.model:
            self._numbers[place] = view.row
        else:
            self._places.clear()
        self._views[engine] = view

    def _line_up(self) -> None:
        self._views = dict(sorted(self._views.items()))
        self._names = tuple(self._views)
        self._models = tuple([view.state.model for view in self._views.values()])
        self._places = {name: place for place, name in enumerate(self._names)}
        self._numbers = np.array([view.row for view in self._views.values()]).reshape(-1, NUMBERS)

    def _drop_expired(self, now_us: int) -> None:
        while self._records:
            engine, record = next(iter(self._records.items()))
            if now_us - record.alive_us <= EXPIRED_AFTER_US:
                return
            self._drop(engine)

    def _drop(self, engine: str) -> None:
        self._records.pop(engine, None)
        if self._views.pop(engine, None) is not None:
            self._pool = None
            self._places.clear()


def _text_of(value: msgspec.Raw) -> str | bool:
    """Text, false where there is none; what is no text is no message either, and is found unreadable as one."""
    try:
        text: str | bool = _text.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return text


def _is_no_state(change: tuple[str, msgspec.Raw]) -> bool:
    return not change[0].startswith(_ENGINE)


MessageType = TypeVar("MessageType", bound=Message)


class _Latest(Generic[MessageType]):
    """The last readable value of a key, decoded only when its text has changed."""

    def __init__(self, kind: type[MessageType]) -> None:
        self.value: MessageType | None = None
        self._kind = kind
        self._text: str | None = None

    def take(self, text: str) -> bool:
        """Whether there is a new value."""
        if text == self._text:
            return False
        self._text = text
        try:
            self.value = decode(text, self._kind)
        except UnreadableMessage as error:
            log.warning("a value in redis is not readable; the last one stays in use", problem=str(error))
            return False
        return True


class _Record:
    """What was last read of one engine."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.alive_us = 0
        """When it last gave a sign of life, by Redis TIME."""
        self._state = _Latest(EngineState)
        self._forecast = _Latest(Forecast)
        self._model: StepModel = PRIOR
        self._view: EngineView | None = None

    def take_state(self, text: str, now_us: int) -> EngineView | None:
        """What is known then; None as long as no state of it was readable."""
        self.alive_us = now_us  # though nobody can read what it says
        if self._state.take(text) and self._state.value is not None:
            self.alive_us = round(self._state.value.announced_at_s * 1e6)
            self._look()
        return self._view

    def take_forecast(self, text: str) -> EngineView | None:
        """As `take_state`."""
        if self._forecast.take(text) and self._forecast.value is not None:
            self._model = self._forecast.value.step_model()
            self._look()
        return self._view

    def _look(self) -> None:
        state, forecast = self._state.value, self._forecast.value
        if state is None:
            return
        if state.engine != self._name:
            log.warning("an engine's key holds the state of another", key=self._name, engine=state.engine)
            return
        view = EngineView(state=state)
        if forecast is not None:
            view = EngineView(
                state=state,
                model=self._model,
                health=forecast.health,
                mape=forecast.mape,
                steps_learned=forecast.steps_learned,
                capacity_tokens_per_s=forecast.capacity_tokens_per_s,
                forecast_written_at_s=forecast.written_at_s,
            )
        try:
            _ = view.row
        except (OverflowError, struct.error) as error:
            log.warning("what an engine says cannot be reckoned with; the last stays in use", problem=str(error))
            return
        self._view = view
