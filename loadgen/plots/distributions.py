"""The cumulative distributions of latencies: what share of requests took no longer than so many milliseconds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes

from loadgen.outcome import Outcome
from loadgen.plots.drawing import MOST_POINTS, panels, scale_plainly, styled, svg
from loadgen.report import Report
from shared.slo import Slo

PANEL_INCHES = (2.7, 2.5)
LEGEND_INCHES = 1.2
LEAST_MS = 0.1
"""Gaps between events that came together are next to nothing: the axis begins here."""
Values = np.ndarray[tuple[int, ...], np.dtype[Any]]


class _Latency(NamedTuple):
    counted: str
    of: Callable[[Sequence[Outcome]], Values]
    """In seconds."""
    target_s: Callable[[Slo], float | None]


_LATENCIES: Mapping[str, _Latency] = {
    "TTFT": _Latency("requests", lambda well: _known([o.ttft_s for o in well]), lambda slo: slo.ttft_s),
    "TPOT": _Latency("requests", lambda well: _known([o.tpot_s for o in well]), lambda slo: slo.tpot_s),
    "ITL": _Latency("gaps", lambda well: np.concatenate([o.itl_s for o in well]), lambda _: None),
    "E2E": _Latency("requests", lambda well: _known([o.e2e_s for o in well]), lambda slo: slo.e2e_s),
}


@styled
def distribution_plot(reports: Sequence[Report]) -> str:
    """TTFT, TPOT, ITL and E2E by class, of requests that ended well, with the targets as dashed lines."""
    well = _well_by_class(reports)
    width, height = PANEL_INCHES
    figure, [row] = panels(1, len(_LATENCIES), (len(_LATENCIES) * width + LEGEND_INCHES, height))
    for axes, (name, latency) in zip(row, _LATENCIES.items(), strict=True):
        shown_ms = [
            value_ms
            for number, (slo_class, outcomes) in enumerate(well.items())
            for value_ms in _draw_class(axes, latency, outcomes, f"C{number}", slo_class)
        ]
        axes.set(title=name, xlabel="ms", ylabel=f"{latency.counted}, %", ylim=(0, 101))
        if shown_ms:
            scale_plainly(axes, "x", max(min(shown_ms) / 1.2, LEAST_MS), max(*shown_ms, 2 * LEAST_MS) * 1.2)
        else:
            axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="grey")
            axes.set(xticks=(), yticks=())
    if well:
        figure.legend(*row[0].get_legend_handles_labels(), loc="outside right upper")
    return svg(figure, "distributions")


def _draw_class(axes: Axes, latency: _Latency, well: Sequence[Outcome], colour: str, name: str) -> Sequence[float]:
    """What the axis must show, in ms; nothing where the class has no such latency."""
    values_ms = 1e3 * latency.of(well)
    if not len(values_ms):
        return ()
    shares = np.linspace(0, 100, min(len(values_ms), MOST_POINTS))
    quantiles_ms = np.percentile(values_ms, shares)
    axes.plot(np.maximum(quantiles_ms, LEAST_MS / 10), shares, lw=1.2, color=colour, label=name)
    target_s = latency.target_s(well[0].request.slo)
    if target_s is None:
        return (quantiles_ms[0], quantiles_ms[-1])
    axes.axvline(1e3 * target_s, color=colour, ls="--", lw=0.9)
    return (quantiles_ms[0], quantiles_ms[-1], 1e3 * target_s)


def _well_by_class(reports: Sequence[Report]) -> Mapping[str, Sequence[Outcome]]:
    by_class: dict[str, list[Outcome]] = {}
    for report in reports:
        for outcome in report.scored:
            if outcome.problem is None:
                by_class.setdefault(outcome.request.slo.name, []).append(outcome)
    return dict(sorted(by_class.items()))


def _known(values: Sequence[float | None]) -> Values:
    return np.array([value for value in values if value is not None])
