"""The systems that are compared, who batches and who routes; and what their rows say, as pages tell and draw it. Pure."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loadgen.experiments.figure import Value
from loadgen.experiments.goals import BySeed
from loadgen.simulate.rows import Row
from loadgen.student import estimate


class System(NamedTuple):
    """Who batches, and who routes."""

    planner: str
    policy: str


OfLoad = Mapping[System, Row]
Found = Mapping[tuple[str, float], OfLoad]
"""By load: workload and rate."""


def found_of(rows: Sequence[Row]) -> Found:
    """Rows by load and system."""
    found: dict[tuple[str, float], dict[System, Row]] = {}
    for row in rows:
        found.setdefault((row.workload, row.rate), {})[System(row.engine_policy, row.router_policy)] = row
    return found


def attained(row: Row) -> BySeed:
    """The share of the requests that met all their targets."""
    return [of_seed.attainment for of_seed in row.of_seeds]


def best_of(of_load: OfLoad, systems: Sequence[System]) -> System:
    """The one of them that attains most, chosen after the fact; of those that were run."""
    return max((system for system in systems if system in of_load), key=lambda system: of_load[system].attainment)


def told_share(of_seeds: BySeed) -> str:
    """In %, with its interval where there is one."""
    share = estimate(of_seeds)
    return f"{100 * share.mean:.0f}" if share.ci95 is None else f"{100 * share.mean:.0f} ± {100 * share.ci95:.0f}"


def drawn(of_seeds: BySeed, unit: float = 100.0) -> Value:
    """For a figure, in so many parts; unless told otherwise in %."""
    value = estimate(of_seeds)
    return Value(unit * value.mean, None if value.ci95 is None else unit * value.ci95)


def table_head(first: str, names: Sequence[str]) -> str:
    """Of a table in Markdown."""
    return f"| {first} | {' | '.join(names)} |\n|---|{'---|' * len(names)}\n"
