"""A run's report: one value, written as JSON, from which tables, rows and pages are made."""

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata

import msgspec

from loadgen.engines import Engine
from loadgen.lag import OwnLoad
from loadgen.lateness import Lateness, emulated_engines, lateness_between
from loadgen.load import Settings
from loadgen.outcome import Outcome
from loadgen.score import Score, score_groups

LATE_S = 0.01
"""A request sent later than this after its arrival counts as late."""
TOO_LATE_S, MOST_TOO_LATE = 0.05, 0.02
"""The generator counts as overloaded where a larger share of its requests was sent later than this …"""
MOST_LAG_S = 0.05
"""… or where its event loop was later than this 1 % of the time."""


class Group(msgspec.Struct, frozen=True):
    """The score of one engine's requests of one class."""

    engine: str
    slo_class: str
    score: Score


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of a run; times in seconds as they were measured, stretched where the run was."""

    v: int = 2
    settings: Settings
    emulated_engines: tuple[str, ...] = ()
    """Those that took the time of a profiled GPU and computed nothing."""
    versions: Mapping[str, str]
    duration_s: float
    scored_s: float
    """Of that, from the end of the warm-up on."""
    late_sends: int
    """Requests sent more than `LATE_S` after their arrival."""
    latest_send_s: float
    own_load: OwnLoad | None
    overloads: tuple[str, ...]
    """Why a machine was too busy for the figures to count, the generator's own or that of emulated engines; empty if none was."""
    warm_up_requests: int
    """Sent, but in no group."""
    groups: tuple[Group, ...]
    """Each engine and class, each class, and last all requests together."""
    engines: tuple[Engine, ...]
    lateness: tuple[Lateness, ...] = ()
    """Of the steps that emulated engines ran in this run."""
    problems: tuple[str, ...]
    """Why the run counts as failed; empty if it does not."""
    outcomes: tuple[Outcome, ...]

    @property
    def total(self) -> Score:
        """Of all requests that are scored."""
        return self.groups[-1].score

    @property
    def scored(self) -> tuple[Outcome, ...]:
        """The outcomes after the warm-up."""
        return self.outcomes[self.warm_up_requests :]

    @property
    def goodput_per_s(self) -> float:
        """Requests that met all their targets, a second of the load's own time, as rates are."""
        return self._per_s(self.total.attained)

    @property
    def output_tokens_per_s(self) -> float:
        """A second of the load's own time."""
        return self._per_s(self.total.output_tokens)

    def _per_s(self, count: int) -> float:
        return count / self.scored_s * self.settings.time_scale


class NothingScored(ValueError):
    """No request arrived after the warm-up."""


def make_report(
    settings: Settings,
    outcomes: Sequence[Outcome],
    engines: Sequence[Engine],
    engine_problems: Sequence[str],
    duration_s: float,
    own_load: OwnLoad | None = None,
    engines_before: Sequence[Engine] = (),
) -> Report:
    """The report of outcomes in the order of their arrivals.

    Args:
        engines: as the router described them after the run.
        engines_before: as it did before; what emulated ones counted in between is judged.

    Raises:
        NothingScored: the warm-up was as long as the run.
    """
    warm_up_s = settings.warm_up_s * settings.time_scale
    warm_up_requests = sum(outcome.request.arrival_s < warm_up_s for outcome in outcomes)
    scored = outcomes[warm_up_requests:]
    if not scored:
        raise NothingScored(f"none of {len(outcomes)} requests arrived after the warm-up of {settings.warm_up_s:g} s")
    lateness_s = [outcome.late_s for outcome in outcomes]
    lateness = lateness_between(engines_before, engines)
    failed = [outcome.problem for outcome in scored if outcome.problem is not None]
    problems = [f"{len(failed)} requests did not end well, the first: {failed[0]}"] if failed else []
    return Report(
        settings=settings,
        emulated_engines=emulated_engines((*engines_before, *engines)),
        versions=_versions(),
        duration_s=duration_s,
        scored_s=max(duration_s - warm_up_s, 1e-9),
        late_sends=sum(late_s > LATE_S for late_s in lateness_s),
        latest_send_s=max(lateness_s),
        own_load=own_load,
        overloads=(*_overloads(lateness_s, own_load), *(overload for each in lateness for overload in each.overloads)),
        warm_up_requests=warm_up_requests,
        groups=tuple(Group(*key, group) for key, group in score_groups(scored).items()),
        engines=tuple(engines),
        lateness=lateness,
        problems=(*problems, *engine_problems),
        outcomes=tuple(outcomes),
    )


def _overloads(lateness_s: Sequence[float], own_load: OwnLoad | None) -> tuple[str, ...]:
    too_late = sum(late_s > TOO_LATE_S for late_s in lateness_s)
    overloads = []
    if too_late > MOST_TOO_LATE * len(lateness_s):
        overloads.append(f"{too_late} of {len(lateness_s)} requests were sent more than {TOO_LATE_S * 1e3:.0f} ms late")
    if own_load is not None and own_load.lag_p99_s > MOST_LAG_S:
        lag_ms, most_ms = own_load.lag_p99_s * 1e3, MOST_LAG_S * 1e3
        overloads.append(f"the event loop was {lag_ms:.0f} ms late 1 % of the time, more than {most_ms:.0f} ms")
    return tuple(overloads)


def _versions() -> Mapping[str, str]:
    packages = ("aiohttp", "numpy")
    return {"python": platform.python_version(), **{package: metadata.version(package) for package in packages}}
