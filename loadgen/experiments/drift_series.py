"""A run over time: what became of the requests of each short window, by arrival; and a row of such runs. Pure."""

import math
from collections.abc import Iterable, Sequence
from http import HTTPStatus

import msgspec

from loadgen.experiments.drift_loads import Stretch, Timeline
from loadgen.experiments.own_rows import OwnRow
from loadgen.outcome import Outcome
from loadgen.score import score
from loadgen.simulate.experiment import Cell
from loadgen.simulate.run import simulate
from loadgen.student import Estimate, estimate


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The requests that arrived in it."""

    offered: int = 0
    attained: int = 0
    refused: int = 0
    ttft_error_p50: float | None = None
    """Median of |actual − predicted| / actual; None where nothing was predicted."""
    tpot_error_p50: float | None = None
    told: int = 0
    """Requests that were given a chance to keep their promise."""
    foreseen: float = 0.0
    """Promises kept that those chances amount to."""
    kept: int = 0
    """Promises that those requests kept."""


class SeedSeries(msgspec.Struct, frozen=True):
    """One run."""

    windows: Sequence[Window]
    """One after the other from the first instant on."""


class SeriesRow(OwnRow, frozen=True, kw_only=True):
    """A policy at a load, over time."""

    window_s: float
    series: Sequence[SeedSeries]
    """By seed."""

    def within(self, stretch: Stretch) -> Sequence[Sequence[Window]]:
        """By seed, the windows of a stretch."""
        first, end = (round(at_s / self.window_s) for at_s in stretch)
        return [each.windows[first:end] for each in self.series]

    def over_time(self) -> Sequence[tuple[float, Sequence[Window]]]:
        """By window, with the middle of it, in seconds, what each seed had."""
        by_window = zip(*(each.windows for each in self.series), strict=True)
        return [((place + 0.5) * self.window_s, windows) for place, windows in enumerate(by_window)]


def run_series(timeline: Timeline, cell: Cell, seed: int) -> SeedSeries:
    """One run."""
    return series_of(simulate(cell.scenario, cell.draw(seed), seed).outcomes, timeline)


def series_of(outcomes: Iterable[Outcome], timeline: Timeline) -> SeedSeries:
    """Of a run's outcomes; who arrived later than was planned is left out."""
    members: list[list[Outcome]] = [[] for _ in range(round(timeline.arriving_s / timeline.window_s))]
    for outcome in outcomes:
        place = int(outcome.request.arrival_s / timeline.window_s)
        if place < len(members):
            members[place].append(outcome)
    return SeedSeries([_window(each) for each in members])


def row_of(window_s: float, seeds: Sequence[int], cell: Cell, series: Sequence[SeedSeries]) -> SeriesRow:
    """The row of a cell's runs."""
    return SeriesRow(
        workload=cell.workload,
        rate=cell.rate,
        policy=cell.scenario.policy,
        seeds=tuple(seeds),
        window_s=window_s,
        series=series,
    )


def attainments(of_seeds: Sequence[Sequence[Window]]) -> Sequence[float | None]:
    """By seed; None of one that nobody asked anything of."""
    return [_share(sum(w.attained for w in windows), sum(w.offered for w in windows)) for windows in of_seeds]


def refusals(of_seeds: Sequence[Sequence[Window]]) -> Sequence[float | None]:
    """By seed."""
    return [_share(sum(w.refused for w in windows), sum(w.offered for w in windows)) for windows in of_seeds]


def mean_of(values: Iterable[float | None]) -> Estimate | None:
    """Over those that there are."""
    known = [value for value in values if value is not None]
    return estimate(known) if known else None


def difference(values: Sequence[float | None], others: Sequence[float | None]) -> Estimate | None:
    """By how much they are more, seed by seed."""
    pairs = zip(values, others, strict=True)
    return mean_of([None if one is None or other is None else one - other for one, other in pairs])


def _window(outcomes: Sequence[Outcome]) -> Window:
    if not outcomes:
        return Window()
    of_all = score(outcomes)
    told = [(outcome.p_met, outcome.attained) for outcome in outcomes if outcome.p_met is not None]
    return Window(
        offered=of_all.offered,
        attained=of_all.attained,
        refused=sum(outcome.status == HTTPStatus.TOO_MANY_REQUESTS for outcome in outcomes),
        ttft_error_p50=None if of_all.ttft_foresight is None else of_all.ttft_foresight.error_p50,
        tpot_error_p50=None if of_all.tpot_foresight is None else of_all.tpot_foresight.error_p50,
        told=len(told),
        foreseen=math.fsum(chance for chance, _ in told),
        kept=sum(kept for _, kept in told),
    )


def _share(some: int, of_all: int) -> float | None:
    return some / of_all if of_all else None
