"""Each engine over the run: what it had in flight, and when the requests arrived that missed a target."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from loadgen.outcome import Outcome
from loadgen.plots.drawing import MOST_POINTS, panels, styled, svg
from loadgen.report import Report

MOST_ENGINES = 8
"""Those that served most."""
MOST_BARS = 150
BAR_WIDTHS_S = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
ARRIVED, MISSED, WARM_UP = "#d5d8dc", "#c62828", "#fdf3d0"
LONG_S = 600.0
"""From here on the axis is in minutes."""
Values = np.ndarray[tuple[int, ...], np.dtype[Any]]


@styled
def timeline_plot(report: Report) -> str:
    """A panel an engine: requests in flight as a line, arrivals a second as bars, red where they missed a target."""
    by_engine: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        by_engine.setdefault(outcome.engine or "none", []).append(outcome)
    busiest = sorted(sorted(by_engine, key=lambda name: -len(by_engine[name]))[:MOST_ENGINES])
    unit_s, unit = (60.0, "minutes") if report.duration_s >= LONG_S else (1.0, "seconds")
    figure, rows = panels(len(busiest), 1, (9.5, 1.35 * len(busiest) + 0.6))
    for (axes,), engine in zip(rows, busiest, strict=True):
        bars = axes.twinx()
        bars.axvspan(0, report.settings.warm_up_s * report.settings.time_scale / unit_s, color=WARM_UP, lw=0)
        _draw_arrivals(bars, by_engine[engine], report.duration_s, unit_s)
        _draw_in_flight(axes, engine, by_engine[engine], unit_s)
        axes.set_zorder(bars.get_zorder() + 1)
        axes.patch.set_visible(False)
        axes.set_xlim(0, report.duration_s / unit_s)
    left_out = len(by_engine) - len(busiest)
    rest = f"; {left_out} engines that served fewer requests are not shown" if left_out else ""
    rows[-1][0].set_xlabel(f"{unit} into the run{rest}")
    return svg(figure, "timeline")


def _draw_arrivals(bars: Axes, outcomes: Sequence[Outcome], duration_s: float, unit_s: float) -> None:
    width_s = bar_width_s(duration_s)
    edges_s = np.arange(0.0, duration_s + width_s, width_s)
    missed = [outcome for outcome in outcomes if not outcome.attained]
    for arrived, colour in ((outcomes, ARRIVED), (missed, MISSED)):
        rates_per_s = np.histogram([outcome.request.arrival_s for outcome in arrived], edges_s)[0] / width_s
        bars.bar(edges_s[:-1] / unit_s, rates_per_s, width_s / unit_s, align="edge", color=colour, lw=0)
    bars.set_ylabel("arrivals/s")
    bars.grid(visible=False)
    bars.spines["right"].set_visible(True)


def _draw_in_flight(axes: Axes, engine: str, outcomes: Sequence[Outcome], unit_s: float) -> None:
    at_s, in_flight = _in_flight(outcomes)
    axes.step(at_s / unit_s, in_flight, where="post", lw=0.9, color="C0")
    axes.set(ylim=(0, 1.08 * max(in_flight.max(), 1)))
    axes.set_ylabel("in flight", color="C0")
    missed = sum(not outcome.attained for outcome in outcomes)
    axes.set_title(f"{engine}: {len(outcomes):,} requests, {missed:,} missed a target", loc="left")


def _in_flight(outcomes: Sequence[Outcome]) -> tuple[Values, Values]:
    """Instants in seconds, and how many there were from then on; from the run's start to the last end."""
    starts_s = np.array([outcome.sent_s for outcome in outcomes])
    ends_s = starts_s + [outcome.e2e_s or 0.0 for outcome in outcomes]
    at_s = np.concatenate([starts_s, ends_s])
    order = np.argsort(at_s, kind="stable")
    counts = np.cumsum(np.repeat((1, -1), len(outcomes))[order])
    shown = [*range(0, len(order) - 1, max(1, len(order) // MOST_POINTS)), len(order) - 1]
    return np.concatenate([[0.0], at_s[order][shown]]), np.concatenate([[0], counts[shown]])


def bar_width_s(duration_s: float) -> float:
    """The first width of which no more than `MOST_BARS` fill the run."""
    return next((width_s for width_s in BAR_WIDTHS_S if duration_s <= MOST_BARS * width_s), BAR_WIDTHS_S[-1])
