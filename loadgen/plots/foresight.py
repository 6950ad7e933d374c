"""What the router foresaw against what came, a point a request."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from loadgen.outcome import Outcome
from loadgen.plots.drawing import MOST_COLOURS, MOST_POINTS, panels, scale_plainly, styled, svg
from loadgen.report import Report

OTHERS = "other engines"
_PAIRS: Mapping[str, Callable[[Outcome], tuple[float | None, float | None]]] = {
    "TTFT": lambda outcome: (outcome.predicted_ttft_s, outcome.ttft_s),
    "TPOT": lambda outcome: (outcome.predicted_tpot_s, outcome.tpot_s),
}


class _Point(NamedTuple):
    engine: str
    foreseen_ms: float
    actual_ms: float


@styled
def foresight_plot(reports: Sequence[Report]) -> str | None:
    """TTFT and TPOT of requests that ended well, by engine; None where nothing was foreseen."""
    well = [outcome for report in reports for outcome in report.scored if outcome.problem is None]
    clouds = {latency: _points(well, pair) for latency, pair in _PAIRS.items()}
    if not any(clouds.values()):
        return None
    colours = _colours(well)
    figure, [row] = panels(1, len(clouds), (3.2 * len(clouds) + 1.8, 3.3))
    for axes, (latency, cloud) in zip(row, clouds.items(), strict=True):
        axes.set(title=latency, xlabel="actual, ms", ylabel="foreseen, ms")
        if cloud:
            _draw(axes, cloud, colours)
    for engine, colour in colours.items():
        row[0].scatter([], [], s=16, lw=0, color=colour, label=engine)
    figure.legend(loc="outside right upper")
    return svg(figure, "foresight")


def _points(well: Sequence[Outcome], pair: Callable[[Outcome], tuple[float | None, float | None]]) -> list[_Point]:
    known = []
    for outcome in well:
        foreseen_s, actual_s = pair(outcome)
        if foreseen_s and actual_s:
            known.append(_Point(outcome.engine or "none", 1e3 * foreseen_s, 1e3 * actual_s))
    return known[:: max(1, len(known) // MOST_POINTS)]


def _colours(well: Sequence[Outcome]) -> Mapping[str, str]:
    """Of the engines that served most, and of all others together."""
    served = Counter(outcome.engine or "none" for outcome in well)
    named = sorted(engine for engine, _ in served.most_common(MOST_COLOURS))
    colours = {engine: f"C{number}" for number, engine in enumerate(named)}
    return colours if len(served) == len(named) else {**colours, OTHERS: "lightgrey"}


def _draw(axes: Axes, cloud: Sequence[_Point], colours: Mapping[str, str]) -> None:
    """In the order of the requests, so that no engine hides another."""
    of_points = [colours.get(point.engine, colours.get(OTHERS, "lightgrey")) for point in cloud]
    actual_ms, foreseen_ms = np.array([(point.actual_ms, point.foreseen_ms) for point in cloud]).T
    axes.scatter(actual_ms, foreseen_ms, s=7, lw=0, alpha=0.6, color=of_points)
    axes.axline((1.0, 1.0), slope=1.0, color="black", lw=0.7)
    low, high = min(actual_ms.min(), foreseen_ms.min()) / 1.3, max(actual_ms.max(), foreseen_ms.max()) * 1.3
    scale_plainly(axes, "x", low, high)
    scale_plainly(axes, "y", low, high)
    axes.set_box_aspect(1)
