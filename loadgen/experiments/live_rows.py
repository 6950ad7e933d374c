"""What live runs of planners amount to: one value a run, as its clients saw it. Pure."""

from collections.abc import Sequence

import msgspec

from loadgen.lateness import NOTICED_MS
from loadgen.report import Report
from loadgen.score import Spread
from loadgen.student import Estimate, estimate


class LiveRow(msgspec.Struct, frozen=True, kw_only=True):
    """One planner, one load. Times are in the engine's own time, also where that was stretched."""

    system: str
    emulated: bool
    planner: str
    times_capacity: float
    rate_per_s: float
    seed: int
    offered: int
    attainment: float
    goodput_per_s: float
    """Requests that met all their targets, a second from the first sending to the last answer."""
    failed: int
    """That did not end well."""
    ttft_p50_s: float | None
    ttft_p99_s: float | None
    tpot_p50_s: float | None
    tpot_p99_s: float | None
    probe_s: float | None
    """What one prompt took just before, alone: the machine's speed. None: all planners had their runs at one time."""
    late_share: float | None
    """Of the emulated engine's steps, those that ended more than `loadgen.lateness.NOTICED_MS` late; None: a real one."""
    overloads: tuple[str, ...]
    """Why the run does not count, if it does not."""


def live_row(system: str, planner: str, times_capacity: float, report: Report, probe_s: float | None) -> LiveRow:
    """The row of a run.

    Args:
        report: of one planner's requests, with its engine alone.
    """
    total, settings = report.total, report.settings
    assert settings.rate_per_s is not None, "the load has a rate"
    ttft_p50_s, ttft_p99_s = _unstretched(total.ttft_s, settings.time_scale)
    tpot_p50_s, tpot_p99_s = _unstretched(total.tpot_s, settings.time_scale)
    steps = sum(each.steps for each in report.lateness)
    late_steps = sum(each.later_than(NOTICED_MS) for each in report.lateness)
    return LiveRow(
        system=system,
        emulated=bool(report.emulated_engines),
        planner=planner,
        times_capacity=times_capacity,
        rate_per_s=settings.rate_per_s,
        seed=settings.seed,
        offered=total.offered,
        attainment=total.attainment,
        goodput_per_s=report.goodput_per_s,
        failed=total.offered - total.ended_well,
        ttft_p50_s=ttft_p50_s,
        ttft_p99_s=ttft_p99_s,
        tpot_p50_s=tpot_p50_s,
        tpot_p99_s=tpot_p99_s,
        probe_s=probe_s,
        late_share=late_steps / steps if steps else None,
        overloads=report.overloads,
    )


def _unstretched(spread: Spread | None, time_scale: float) -> tuple[float | None, float | None]:
    return (None, None) if spread is None else (spread.p50 / time_scale, spread.p99 / time_scale)


def mean_of(rows: Sequence[LiveRow], field: str) -> Estimate | None:
    """Over the rows that have it; None where none has."""
    values: list[float] = [value for row in rows if (value := getattr(row, field)) is not None]
    return estimate(values) if values else None
