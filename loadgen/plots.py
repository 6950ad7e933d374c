"""A report's plots, each as SVG to stand in a page."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from loadgen.goodput import Goodput
from loadgen.outcome import Outcome
from loadgen.report import Report

MOST_POINTS = 2000
"""Of a curve or a cloud, evenly spread: more make the page heavy and no clearer."""
MOST_ENGINES = 8
"""In the timeline; those that served most."""
PANEL_INCHES = (3.0, 2.4)
LATENCIES: Mapping[str, Callable[[Outcome], float | None]] = {
    "TTFT": lambda outcome: outcome.ttft_s,
    "TPOT": lambda outcome: outcome.tpot_s,
    "E2E": lambda outcome: outcome.e2e_s,
}


def attainment_plot(goodput: Goodput, reports: Sequence[Report]) -> str:
    """Attainment against rate, of all and of each class, with 95 % intervals."""
    figure, [[axes]] = _panels(1, 1, (5.0, 3.0))
    points = sorted(goodput.points, key=lambda point: point.rate_per_s)
    rates = [point.rate_per_s for point in points]
    means = [100 * point.attainment.mean for point in points]
    doubts = [100 * (point.attainment.ci95 or 0.0) for point in points]
    axes.errorbar(rates, means, yerr=doubts, marker="o", capsize=3, color="black", label="all")
    for name in _classes(reports):
        axes.plot(rates, [_class_attainment(reports, name, rate) for rate in rates], marker=".", lw=0.8, label=name)
    axes.axhline(100 * goodput.target, color="grey", ls="--", lw=0.8)
    axes.set(xlabel="requests/s offered", ylabel="SLO attainment, %", ylim=(-3, 103), xlim=(0, 1.05 * rates[-1]))
    axes.legend()
    return _svg(figure, "attainment")


def distribution_plot(reports: Sequence[Report]) -> str:
    """The cumulative distributions of TTFT, TPOT, ITL and E2E by class, with the targets as dashed lines."""
    figure, [row] = _panels(1, 4, (4 * PANEL_INCHES[0], PANEL_INCHES[1]))
    classes = _classes(reports)
    for number, name in enumerate(classes):
        well = [
            outcome
            for report in reports
            for outcome in report.scored
            if outcome.problem is None and outcome.request.slo.name == name
        ]
        if not well:
            continue
        slo = well[0].request.slo
        for axes, (latency, of), target_s in zip(
            (row[0], row[1], row[3]), LATENCIES.items(), (slo.ttft_s, slo.tpot_s, slo.e2e_s), strict=True
        ):
            _cumulate(axes, np.array([value for o in well if (value := of(o)) is not None]), name, f"C{number}")
            axes.set_title(latency)
            if target_s is not None:
                axes.axvline(1e3 * target_s, color=f"C{number}", ls="--", lw=0.8)
        _cumulate(row[2], np.concatenate([outcome.itl_s for outcome in well]), name, f"C{number}")
        row[2].set_title("ITL")
    for axes in row:
        axes.set(xlabel="ms", ylim=(0, 101), xscale="log")
        _label_plainly(axes.xaxis)
    row[0].set_ylabel("requests, %")
    if row[0].has_data():
        row[0].legend(fontsize=7)
    return _svg(figure, "distributions")


def foresight_plot(reports: Sequence[Report]) -> str | None:
    """TTFT and TPOT as foreseen by the router against what came, by engine; None where nothing was foreseen."""
    well = [outcome for report in reports for outcome in report.scored if outcome.problem is None]
    pairs = {
        "TTFT": [(o.engine or "none", o.predicted_ttft_s, o.ttft_s) for o in well],
        "TPOT": [(o.engine or "none", o.predicted_tpot_s, o.tpot_s) for o in well],
    }
    if not any(predicted for triples in pairs.values() for _, predicted, _ in triples):
        return None
    figure, [row] = _panels(1, 2, (2 * PANEL_INCHES[0], PANEL_INCHES[1] + 0.4))
    for axes, (latency, triples) in zip(row, pairs.items(), strict=True):
        known = [(engine, predicted, actual) for engine, predicted, actual in triples if predicted and actual]
        known = known[:: max(1, len(known) // MOST_POINTS)]
        for engine in sorted({engine for engine, _, _ in known}):
            points_ms = 1e3 * np.array([(actual, predicted) for name, predicted, actual in known if name == engine])
            axes.scatter(points_ms[:, 0], points_ms[:, 1], s=6, lw=0, alpha=0.6, label=engine)
        axes.axline((1.0, 1.0), slope=1.0, color="black", lw=0.6)
        axes.set(xscale="log", yscale="log", xlabel="actual, ms", ylabel="foreseen, ms", title=latency)
        if known:
            bounds = np.array([value for _, predicted, actual in known for value in (predicted, actual)])
            limits = 1e3 * bounds.min() / 1.3, 1e3 * bounds.max() * 1.3
            axes.set(xlim=limits, ylim=limits)
            axes.legend(fontsize=6, markerscale=2)
        _label_plainly(axes.xaxis, axes.yaxis)
    return _svg(figure, "foresight")


def timeline_plot(report: Report) -> str:
    """Each engine's requests in flight over the run, and the instants at which requests arrived that missed a target."""
    by_engine: dict[str, list[Outcome]] = {}
    for outcome in report.outcomes:
        by_engine.setdefault(outcome.engine or "none", []).append(outcome)
    busiest = sorted(sorted(by_engine, key=lambda name: -len(by_engine[name]))[:MOST_ENGINES])
    figure, rows = _panels(len(busiest), 1, (8.0, 1.3 * len(busiest) + 0.5))
    for (axes,), engine in zip(rows, busiest, strict=True):
        _engine_panel(axes, engine, by_engine[engine])
        axes.set_xlim(0, report.duration_s)
        if report.warm_up_requests:
            axes.axvspan(0, report.settings.warm_up_s * report.settings.time_scale, color="grey", alpha=0.15, lw=0)
    rows[-1][0].set_xlabel("seconds into the run")
    return _svg(figure, "timeline")


def _engine_panel(axes: Axes, engine: str, outcomes: Sequence[Outcome]) -> None:
    starts_s = np.array([outcome.sent_s for outcome in outcomes])
    ends_s = starts_s + [outcome.e2e_s or 0.0 for outcome in outcomes]
    at_s = np.concatenate([starts_s, ends_s])
    order = np.argsort(at_s, kind="stable")
    in_flight = np.cumsum(np.repeat((1, -1), len(outcomes))[order])
    thinned = slice(None, None, max(1, len(order) // MOST_POINTS))
    axes.step(at_s[order][thinned], in_flight[thinned], where="post", lw=0.8)
    missed_s = [outcome.request.arrival_s for outcome in outcomes if not outcome.attained]
    shown_s = missed_s[:: max(1, len(missed_s) // MOST_POINTS)]
    axes.plot(shown_s, np.zeros(len(shown_s)), "|", color="tab:red", ms=6)
    axes.set(ylabel="in flight", ylim=(-0.05 * in_flight.max() - 0.1, None))
    axes.set_title(f"{engine}: {len(outcomes)} requests, {len(missed_s)} missed a target", fontsize=8, loc="left")


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 8, "axes.grid": True, "grid.alpha": 0.3}
    )


def _panels(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Figure, Sequence[Sequence[Axes]]]:
    with _style():
        figure = Figure(figsize=inches, layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False).tolist()


def _label_plainly(*logarithmic: Axis) -> None:
    for axis in logarithmic:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())


def _cumulate(
    axes: Axes, values_s: "np.ndarray[tuple[int, ...], np.dtype[np.floating]]", name: str, colour: str
) -> None:
    if len(values_s) == 0:
        return
    shares = np.linspace(0, 100, min(len(values_s), MOST_POINTS))
    axes.plot(1e3 * np.maximum(np.percentile(values_s, shares), 1e-6), shares, lw=1, color=colour, label=name)


def _classes(reports: Sequence[Report]) -> Sequence[str]:
    return sorted({outcome.request.slo.name for report in reports for outcome in report.scored})


def _class_attainment(reports: Sequence[Report], name: str, rate_per_s: float) -> float:
    of_class = [
        outcome.attained
        for report in reports
        if report.settings.rate_per_s == rate_per_s
        for outcome in report.scored
        if outcome.request.slo.name == name
    ]
    return 100 * float(np.mean(of_class)) if of_class else float("nan")


def _svg(figure: Figure, name: str) -> str:
    """The drawing alone, its ids made its own: several stand in one page."""
    text = io.StringIO()
    with _style():
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
