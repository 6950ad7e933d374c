"""What was learned and is not written yet, by partition, and which of it is due: forecasts soon, models in their turn."""

import math
from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from services.forecaster.engine_model import Observation
from services.forecaster.intake import SetAside
from services.forecaster.learner import Lesson
from services.forecaster.sharing import Lease
from shared.telemetry import RequestReport

BETWEEN_FORECASTS_S = 0.02
"""Least time between two forecasts of one engine."""
BETWEEN_SAVES_S = 0.5
"""Of one partition's models; what follows the stored position is in the stream still, and would be learned again."""
SAVES_A_PERIOD = 25
"""Saves are spread, so that no forecast waits for all models at once."""
MOST_STEPS_A_SAVE = 512
MOST_REQUESTS_A_SAVE = 1024
MOST_SET_ASIDE_A_SAVE = 32


class Placed(NamedTuple):
    """Something set aside, with the engine whose subject it came on and its place in the stream."""

    engine: str
    sequence: int
    set_aside: SetAside


class Save(NamedTuple):
    """A partition's models and position, with the time series since the save before."""

    engines: tuple[str, ...]
    steps: Mapping[str, tuple[Observation, ...]]
    requests: tuple[tuple[str, RequestReport], ...]
    set_aside: tuple[Placed, ...]


class Portion(NamedTuple):
    """What goes out now of one partition."""

    lease: Lease
    forecasts: tuple[str, ...]
    """Engines whose forecasts are made anew."""
    restated: Mapping[str, bytes]
    """Forecasts of earlier, word for word: with each save, so that Redis keeps them, and where it has lost them."""
    save: Save | None


class _Unwritten:
    """Of one partition."""

    def __init__(self, lease: Lease, written: Mapping[str, bytes], now_s: float) -> None:
        self.lease = lease
        self.written = dict(written)
        self.lost: set[str] = set()
        self.forecast_at_s: dict[str, float] = {}
        self.unforecast: set[str] = set()
        self.unsaved: set[str] = set()
        self.moved = False
        self.saved_at_s = now_s
        self._clear_series()

    def note(self, lesson: Lesson) -> None:
        self.moved = True
        sequence = lesson.position.sequence
        self.set_aside.extend(Placed(lesson.engine, sequence, set_aside) for set_aside in lesson.set_aside)
        if not lesson.is_news:
            return
        self.unforecast.add(lesson.engine)
        self.unsaved.add(lesson.engine)
        if lesson.observations:
            self.steps.setdefault(lesson.engine, deque(maxlen=MOST_STEPS_A_SAVE)).extend(lesson.observations)
        self.requests.extend((lesson.engine, report) for report in lesson.requests)

    def needs_saving(self, now_s: float) -> bool:
        return self.moved and now_s - self.saved_at_s >= BETWEEN_SAVES_S

    def take_forecasts(self, now_s: float, *, all_: bool) -> tuple[str, ...]:
        last_s = math.inf if all_ else now_s - BETWEEN_FORECASTS_S
        due = tuple(engine for engine in self.unforecast if self.forecast_at_s.get(engine, -math.inf) <= last_s)
        self.forecast_at_s.update(dict.fromkeys(due, now_s))
        self.unforecast.difference_update(due)
        return due

    def take_restated(self, *, saved: bool, but: Iterable[str]) -> Mapping[str, bytes]:
        again = (self.lost | self.unsaved if saved else self.lost).difference(but)
        self.lost.clear()
        return {engine: self.written[engine] for engine in again if engine in self.written}

    def take_save(self, now_s: float) -> Save:
        steps = {engine: tuple(observations) for engine, observations in self.steps.items()}
        save = Save(tuple(self.unsaved), steps, tuple(self.requests), tuple(self.set_aside))
        self.unsaved.clear()
        self.moved = False
        self.saved_at_s = now_s
        self._clear_series()
        return save

    def _clear_series(self) -> None:
        self.steps: dict[str, deque[Observation]] = {}
        self.requests: deque[tuple[str, RequestReport]] = deque(maxlen=MOST_REQUESTS_A_SAVE)
        self.set_aside: deque[Placed] = deque(maxlen=MOST_SET_ASIDE_A_SAVE)


class Outbox:
    """Of all partitions held. Everything in it is bounded by the number of engines; times are on any one clock."""

    def __init__(self) -> None:
        self._unwritten: dict[int, _Unwritten] = {}

    def open(self, lease: Lease, written: Mapping[str, bytes], now_s: float) -> None:
        """A partition is held from now on; `written`: the forecasts of its engines in Redis."""
        self._unwritten[lease.partition] = _Unwritten(lease, written, now_s)

    def close(self, partition: int) -> None:
        """A partition is another's now; what is left of it is learned again there."""
        self._unwritten.pop(partition, None)

    def note(self, lesson: Lesson) -> None:
        """Something was learned of a partition held."""
        self._unwritten[lesson.lease.partition].note(lesson)

    def wrote(self, partition: int, forecasts: Mapping[str, bytes]) -> None:
        """These forecasts are in Redis, or on their way; kept in case that it loses them."""
        self._unwritten[partition].written.update(forecasts)

    def restate(self, lease: Lease, engines: Iterable[str]) -> None:
        """Redis may have lost the models and forecasts of a partition: write all of it again."""
        unwritten = self._unwritten[lease.partition]
        unwritten.lease = lease
        unwritten.unsaved.update(engines)
        unwritten.lost.update(engines)
        unwritten.saved_at_s = -math.inf
        unwritten.moved = True

    def has_more(self, now_s: float) -> bool:
        """Whether something is due, or will be before long."""
        return any(u.unforecast or u.lost or u.needs_saving(now_s) for u in self._unwritten.values())

    def take(self, now_s: float) -> list[Portion]:
        """What is due; saves of a few partitions at a time, those first that were saved longest ago."""
        due = [unwritten for unwritten in self._unwritten.values() if unwritten.needs_saving(now_s)]
        most = 1 + len(self._unwritten) // SAVES_A_PERIOD
        saved = sorted(due, key=lambda unwritten: unwritten.saved_at_s)[:most]
        portions = [_portion(u, now_s, saved=u in saved, all_=False) for u in self._unwritten.values()]
        return [p for p in portions if p.forecasts or p.restated or p.save]

    def take_all(self, partition: int, now_s: float) -> Portion:
        """All of a partition, due or not."""
        return _portion(self._unwritten[partition], now_s, saved=True, all_=True)


def _portion(unwritten: _Unwritten, now_s: float, *, saved: bool, all_: bool) -> Portion:
    forecasts = unwritten.take_forecasts(now_s, all_=all_)
    return Portion(
        unwritten.lease,
        forecasts,
        unwritten.take_restated(saved=saved, but=forecasts),
        unwritten.take_save(now_s) if saved else None,
    )
