"""Runs that differ only in their seeds, and what they amount to together. Pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from loadgen.lateness import emulation_notice
from loadgen.report import Report
from loadgen.student import Estimate, estimate


class Repeats(msgspec.Struct, frozen=True, kw_only=True):
    """All of them; the summary is by measure, in seconds and fractions."""

    v: int = 2
    emulated_engines: tuple[str, ...] = ()
    """Of any of the runs."""
    summary: Mapping[str, Estimate]
    reports: tuple[Report, ...]


def make_repeats(reports: Sequence[Report]) -> Repeats:
    """Of at least one run; a measure is left out that not all of them have."""
    rows = [_measures(report) for report in reports]
    names = [name for name in rows[0] if all(row.get(name) is not None for row in rows)]
    values = {name: [value for row in rows if (value := row[name]) is not None] for name in names}
    return Repeats(
        emulated_engines=emulated_in(reports),
        summary={name: estimate(of_runs) for name, of_runs in values.items()},
        reports=tuple(reports),
    )


def emulated_in(reports: Iterable[Report]) -> tuple[str, ...]:
    """The names of engines that were emulated in any of the runs."""
    return tuple(dict.fromkeys(name for report in reports for name in report.emulated_engines))


def notice_of(reports: Sequence[Report]) -> str | None:
    """What must be said wherever figures of these runs are shown, if engines were emulated."""
    return emulation_notice(emulated_in(reports), [lateness for report in reports for lateness in report.lateness])


def _measures(report: Report) -> Mapping[str, float | None]:
    total = report.total
    measures: dict[str, float | None] = {
        "attainment": total.attainment,
        "goodput_per_s": report.goodput_per_s,
        "output_tokens_per_s": report.output_tokens_per_s,
    }
    spreads = {"ttft": total.ttft_s, "tpot": total.tpot_s, "itl": total.itl_s, "e2e": total.e2e_s}
    for name, spread in spreads.items():
        for percentile in ("p50", "p95", "p99"):
            value: float | None = None if spread is None else getattr(spread, percentile)
            measures[f"{name}_{percentile}_s"] = value
    return measures
