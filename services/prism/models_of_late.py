"""Which models there are, or were not long ago: one whose last engine restarts is away, and not unknown. Pure."""

import math
from collections.abc import Collection

from services.prism.fleet import Fleet

OF_LATE_S = 600.0
"""A model whose last engine left no longer ago is away and not unknown: a large one takes minutes to load."""
MOST_MODELS = 1024
"""That are remembered."""
MODELS_NOTED_EVERY_S = 1.0
"""At most: noting them all takes time of each decision."""


class ModelsOfLate:
    """The models that engines of the fleet have, or had not long ago. Times are seconds on any one clock."""

    def __init__(self) -> None:
        self._seen_at_s: dict[str, float] = {}
        """By model, the least lately seen first."""
        self._noted_at_s = -math.inf

    def note(self, fleet: Fleet, now_s: float) -> None:
        """Those of the whole fleet are there; whichever was there too long ago is forgotten."""
        if now_s - self._noted_at_s < MODELS_NOTED_EVERY_S:
            return
        self._noted_at_s = now_s
        for model in dict.fromkeys(engine.state.model for engine in fleet.engines):
            self._seen_at_s.pop(model, None)
            self._seen_at_s[model] = now_s
        for model, seen_at_s in [*self._seen_at_s.items()]:
            if now_s - seen_at_s <= OF_LATE_S and len(self._seen_at_s) <= MOST_MODELS:
                break
            del self._seen_at_s[model]

    @property
    def all(self) -> Collection[str]:
        """As last noted."""
        return self._seen_at_s.keys()
