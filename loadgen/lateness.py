"""Whether the machine that emulates engines kept up: by how much their steps ended late in a run. Pure."""

from collections.abc import Collection, Sequence

import msgspec

from loadgen.engines import Engine
from shared.step import LATENESS_BOUNDS_MS

NOTICED_MS, MOST_NOTICED = 1.0, 0.01
"""An emulated engine's machine counts as overloaded where a larger share of its steps ended later than this …"""
USUAL_MS, MOST_USUAL = 0.2, 0.5
"""… or a larger share than this later than that. One late step says nothing, however few there were."""


class Lateness(msgspec.Struct, frozen=True):
    """The steps that an emulated engine ran during a run."""

    engine: str
    counts: tuple[int, ...]
    """By `shared.step.LATENESS_BOUNDS_MS`, in the profile's time: steps that take ten times as long may be ten times as late."""

    @property
    def steps(self) -> int:
        """All of them."""
        return sum(self.counts)

    def later_than(self, bound_ms: float) -> int:
        """Those that ended later than one of the bounds."""
        return sum(self.counts[LATENESS_BOUNDS_MS.index(bound_ms) + 1 :])

    @property
    def overloads(self) -> tuple[str, ...]:
        """Why its machine was too busy for the figures to count; empty if it was not."""
        limits = ((NOTICED_MS, MOST_NOTICED), (USUAL_MS, MOST_USUAL))
        return tuple(
            f"emulated engine {self.engine}: {late:,} of {self.steps:,} steps ({late / self.steps:.1%}) ended "
            f"more than {bound_ms:g} ms late, {most:.0%} may"
            for bound_ms, most in limits
            if (late := self.later_than(bound_ms)) > max(1.0, most * self.steps)
        )


def lateness_between(before: Collection[Engine], after: Collection[Engine]) -> tuple[Lateness, ...]:
    """Of each engine that ran steps between, as two readings tell; one that came or restarted meanwhile counts from 0."""
    counts_before = {engine.engine: engine.lateness_counts for engine in before}
    between = (
        Lateness(engine.engine, _difference(counts_before.get(engine.engine, ()), engine.lateness_counts))
        for engine in after
    )
    return tuple(lateness for lateness in between if lateness.steps)


def emulated_engines(engines: Collection[Engine]) -> tuple[str, ...]:
    """The names of those that are emulated, each once."""
    return tuple(dict.fromkeys(engine.engine for engine in engines if engine.emulated))


def emulation_notice(names: Sequence[str], lateness: Collection[Lateness]) -> str | None:
    """What must be said wherever figures of emulated engines are shown; None where there are none."""
    if not names:
        return None
    notice = f"EMULATED: {', '.join(names)} took the time of profiled GPUs and computed nothing"
    steps = sum(each.steps for each in lateness)
    if not steps:
        return notice
    late = sum(each.later_than(NOTICED_MS) for each in lateness)
    return f"{notice}; {late / steps:.1%} of {steps:,} steps ended more than {NOTICED_MS:g} ms late"


def _difference(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[int, ...]:
    if len(before) != len(after):
        return after
    counts = tuple(now - then for then, now in zip(before, after, strict=True))
    return after if min(counts, default=0) < 0 else counts
