"""Room reserved on simulated engines, as `shared.fleet_scripts` has it in Redis: every router sees it at once. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from services.prism.dispatches import Dispatch
from services.prism.pending import NOTHING, Pending
from shared.names import RESERVATION_LIFETIME_S


class _Made(NamedTuple):
    pending: Pending
    at_s: float


class Reservations:
    """By engine and by dispatch, named `replica:number`."""

    def __init__(self) -> None:
        self._made: dict[str, dict[str, _Made]] = {}
        self._totals: dict[str, Pending] = {}
        self._shown: Mapping[str, Pending] | None = {}

    @property
    def totals(self) -> Mapping[str, Pending]:
        """By engine, where there is something; what has been read stays as it was."""
        if self._shown is None:
            self._shown = dict(self._totals)
        return self._shown

    def reserve(self, dispatch: Dispatch, replica: str, now_s: float) -> Pending:
        """All that is reserved on its engine then, this included."""
        self._shown = None
        own = Pending.of([(dispatch.interval, dispatch.prompt_tokens)])
        self._made.setdefault(dispatch.engine, {})[dispatch.name(replica)] = _Made(own, now_s)
        total = self._totals[dispatch.engine] = self._totals.get(dispatch.engine, NOTHING).plus(own)
        return total

    def release(self, engine: str, dispatch: str) -> None:
        """Take one back, if it is still there."""
        made = self._made.get(engine, {}).pop(dispatch, None)
        if made is None:
            return
        self._shown = None
        self._totals[engine] = self._totals[engine].minus(made.pending)
        if not self._made[engine]:
            del self._totals[engine], self._made[engine]

    def settle(self, engine: str, dispatches: Iterable[str], now_s: float) -> None:
        """An announcement has come that shows these; what is too old to be on its way goes too."""
        for dispatch in dispatches:
            self.release(engine, dispatch)
        made = self._made.get(engine, {})
        for dispatch in [name for name, each in made.items() if now_s - each.at_s >= RESERVATION_LIFETIME_S]:
            self.release(engine, dispatch)
