"""Attainment against rate: where a system stops keeping its promises."""

from collections.abc import Sequence

import numpy as np

from loadgen.goodput import Goodput
from loadgen.plots.drawing import panels, styled, svg
from loadgen.report import Report


@styled
def attainment_plot(goodput: Goodput, reports: Sequence[Report]) -> str:
    """Of all requests with 95 % intervals, and of each class."""
    figure, [[axes]] = panels(1, 1, (6.5, 3.2))
    points = sorted(goodput.points, key=lambda point: point.rate_per_s)
    rates = [point.rate_per_s for point in points]
    means = 100 * np.array([point.attainment.mean for point in points])
    doubts = 100 * np.array([point.attainment.ci95 or 0.0 for point in points])
    within = np.array([np.minimum(doubts, means), np.minimum(doubts, 100 - means)])
    axes.errorbar(rates, means, yerr=within, marker="o", ms=5, lw=1.5, capsize=3, color="black", label="all, ± 95 %")
    for name in sorted({outcome.request.slo.name for report in reports for outcome in report.scored}):
        of_class = [_class_attainment(reports, name, rate) for rate in rates]
        axes.plot(rates, of_class, marker=".", lw=0.9, label=name)
    axes.axhline(100 * goodput.target, color="grey", ls="--", lw=0.8, label=f"target {100 * goodput.target:g} %")
    axes.set(xlabel="requests/s offered", ylabel="SLO attainment, %", ylim=(-3, 103), xlim=(0, 1.05 * rates[-1]))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[-1:] + handles[:-1], labels[-1:] + labels[:-1], loc="outside right upper")
    return svg(figure, "attainment")


def _class_attainment(reports: Sequence[Report], name: str, rate_per_s: float) -> float:
    of_class = [
        outcome.attained
        for report in reports
        if report.settings.rate_per_s == rate_per_s
        for outcome in report.scored
        if outcome.request.slo.name == name
    ]
    return 100 * float(np.mean(of_class)) if of_class else float("nan")
