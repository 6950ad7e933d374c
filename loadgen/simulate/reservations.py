"""Room reserved on simulated engines, as `shared.fleet_scripts` has it in Redis: every router sees it at once. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from services.prism.fleet import Reserved
from shared.names import RESERVATION_LIFETIME_S


class _Made(NamedTuple):
    prompt_tokens: int
    at_s: float


class Reservations:
    """By engine and by dispatch, named `replica:number`."""

    def __init__(self) -> None:
        self._made: dict[str, dict[str, _Made]] = {}
        self._totals: dict[str, Reserved] = {}

    @property
    def totals(self) -> Mapping[str, Reserved]:
        """By engine, where there is something."""
        return self._totals

    def reserve(self, engine: str, dispatch: str, prompt_tokens: int, now_s: float) -> Reserved:
        """All that is reserved on the engine then, this included."""
        self._made.setdefault(engine, {})[dispatch] = _Made(prompt_tokens, now_s)
        return self._add(engine, 1, prompt_tokens)

    def release(self, engine: str, dispatch: str) -> None:
        """Take one back, if it is still there."""
        made = self._made.get(engine, {}).pop(dispatch, None)
        if made is not None:
            self._add(engine, -1, -made.prompt_tokens)

    def settle(self, engine: str, dispatches: Iterable[str], now_s: float) -> None:
        """An announcement has come that shows these; what is too old to be on its way goes too."""
        for dispatch in dispatches:
            self.release(engine, dispatch)
        made = self._made.get(engine, {})
        for dispatch in [name for name, each in made.items() if now_s - each.at_s >= RESERVATION_LIFETIME_S]:
            self.release(engine, dispatch)

    def _add(self, engine: str, requests: int, prompt_tokens: int) -> Reserved:
        before = self._totals.get(engine, Reserved())
        total = Reserved(before.requests + requests, before.prompt_tokens + prompt_tokens)
        self._totals[engine] = total
        if not total.requests:
            del self._totals[engine], self._made[engine]
        return total
