"""What runs of whole systems amount to: one row a run, as its clients saw it, and differences between runs of the same requests. Pure."""

from collections.abc import Callable, Sequence
from http import HTTPStatus

import msgspec

from loadgen.experiments.live_rows import LiveRow, live_row
from loadgen.experiments.real_parts import System
from loadgen.reliability import Reliability
from loadgen.report import Report
from loadgen.score import Foresight
from loadgen.student import Estimate, estimate


class RealRow(LiveRow, frozen=True, kw_only=True):
    """One system, one load; `system` is the kind of its fleet, `failed` leaves out what was refused."""

    layers: str
    """What is compared, by name."""
    policy: str
    again: bool
    """Whether the same requests went to the same system before, some minutes ago: to see what the machine does to a run."""
    refused: float
    """Of the requests offered."""
    e2e_p50_s: float | None
    ttft_error_p50: float | None
    """Median of |actual − predicted| ÷ actual; None where the router predicts nothing."""
    tpot_error_p50: float | None
    reliability: Reliability | None
    generator_share: float | None
    """Of a core, what the load generator took."""
    simulated: bool = False

    @property
    def key(self) -> tuple[str, str, float, int, bool]:
        """What a run is known by."""
        return self.system, self.layers, self.times_capacity, self.seed, self.again


def real_row(
    fleet: str, system: System, times_capacity: float, report: Report, probe_s: float | None, *, again: bool
) -> RealRow:
    """The row of a run."""
    total, scale = report.total, report.settings.time_scale
    refused = sum(outcome.status == HTTPStatus.TOO_MANY_REQUESTS for outcome in report.scored)
    seen = msgspec.structs.asdict(live_row(fleet, system.planner, times_capacity, report, probe_s))
    seen["failed"] -= refused
    return RealRow(
        **seen,
        layers=system.name,
        policy=system.policy,
        again=again,
        refused=refused / total.offered,
        e2e_p50_s=None if total.e2e_s is None else total.e2e_s.p50 / scale,
        ttft_error_p50=_error(total.ttft_foresight),
        tpot_error_p50=_error(total.tpot_foresight),
        reliability=total.reliability,
        generator_share=None if report.own_load is None else report.own_load.processor_share,
    )


def _error(foresight: Foresight | None) -> float | None:
    return None if foresight is None else foresight.error_p50


def runs_of(rows: Sequence[RealRow], layers: str, times_capacity: float) -> Sequence[RealRow]:
    """A system's at a load, each with requests of its own."""
    return [row for row in rows if (row.layers, row.times_capacity, row.again) == (layers, times_capacity, False)]


def paired(
    ours: Sequence[RealRow], theirs: Sequence[RealRow], compare: Callable[[RealRow, RealRow], float | None]
) -> Estimate | None:
    """Over the seeds that both have, what comes of comparing runs of the same requests; None where nothing does.

    The machine may be another one from repeat to repeat: within one, the systems had their turns next to each other.
    """
    by_seed = {row.seed: row for row in theirs}
    found = [compare(row, by_seed[row.seed]) for row in ours if row.seed in by_seed]
    values = [value for value in found if value is not None]
    return estimate(values) if values else None


def points_ahead(ours: RealRow, theirs: RealRow) -> float:
    """In attainment, of a hundred."""
    return 100 * (ours.attainment - theirs.attainment)


def e2e_ratio(ours: RealRow, theirs: RealRow) -> float | None:
    """Of the medians; None where nothing ended."""
    if ours.e2e_p50_s is None or not theirs.e2e_p50_s:
        return None
    return ours.e2e_p50_s / theirs.e2e_p50_s
