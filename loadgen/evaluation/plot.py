"""`python -m loadgen.evaluation.plot LOG…`: the step model's predictions against what came, as a picture."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from loadgen.evaluation.prequential import Foreseen, foresee
from loadgen.evaluation.scores import STEPS_NOT_COUNTED
from loadgen.evaluation.synergy import Synergy
from loadgen.steplog import BadStepLog, LoggedStep, read_steps

DECODE, MIXED = "tab:blue", "tab:orange"
MOST_POINTS = 2000
"""Of a log, evenly spread."""
STRETCH_STEPS = 150
"""Of a log, shown over time: where prefills come and go most."""
DOTS_PER_INCH = 110
"""Of the points, which are a bitmap within the drawing to keep it small."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and write; returns the exit status, 2 for a log that cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.evaluation.plot", description=__doc__)
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="JSON lines, a line an engine step")
    parser.add_argument("--output", type=Path, default=Path("docs/step-model.svg"), help="%(default)s")
    options = parser.parse_args(arguments)
    try:
        logs = {path.stem: read_steps(path) for path in options.logs}
    except BadStepLog as error:
        print(error, file=sys.stderr)
        return 2
    if short := [log for log, steps in logs.items() if len(steps) <= STEPS_NOT_COUNTED]:
        print(f"{short[0]} has no more than {STEPS_NOT_COUNTED} steps, of which none counts", file=sys.stderr)
        return 2
    # Same logs, same bytes: no random names, no date.
    mpl.rcParams.update({"svg.hashsalt": "step-model", "font.size": 8})
    options.output.parent.mkdir(parents=True, exist_ok=True)
    draw(logs).savefig(options.output, format="svg", dpi=DOTS_PER_INCH, metadata={"Date": None})
    return 0


def draw(logs: Mapping[str, Sequence[LoggedStep]]) -> Figure:
    """A panel a log, predicted against actual; below, a stretch of the first log over time."""
    figure = Figure(figsize=(2.7 * max(2, len(logs)), 5.4), layout="constrained")
    halves = figure.add_gridspec(2, 1, height_ratios=(1.15, 1.0))
    above, below = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    passes = {log: foresee(Synergy(), steps) for log, steps in logs.items()}
    for axes, (log, foreseen) in zip(above.subplots(1, len(logs), squeeze=False)[0], passes.items(), strict=True):
        _scatter(axes, log, foreseen)
    log, steps = next(iter(logs.items()))
    _over_time(below.subplots(), log, np.array([step.at_s for step in steps]), passes[log])
    return figure


def _scatter(axes: Axes, log: str, foreseen: Foreseen) -> None:
    actual_ms, expected_ms = 1e3 * foreseen.actual_s, 1e3 * foreseen.expected_s
    counted = np.arange(len(actual_ms)) >= STEPS_NOT_COUNTED
    counted &= np.arange(len(actual_ms)) % max(1, len(actual_ms) // MOST_POINTS) == 0
    for name, kind, colour in (("mixed", foreseen.mixed, MIXED), ("decode only", ~foreseen.mixed, DECODE)):
        shown = counted & kind
        axes.scatter(actual_ms[shown], expected_ms[shown], s=3, c=colour, lw=0, alpha=0.5, label=name, rasterized=True)
    axes.axline((1.0, 1.0), slope=1.0, color="black", linewidth=0.6)
    axes.set(xscale="log", yscale="log", xlabel="actual, ms", ylabel="predicted, ms", aspect="equal")
    axes.set_title(log, fontsize=7)
    axes.legend(fontsize=6, markerscale=3)
    bounds = actual_ms.min() / 1.2, 1.2 * actual_ms.max()
    axes.set(xlim=bounds, ylim=bounds)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())


def _over_time(axes: Axes, log: str, at_s: np.ndarray[tuple[int], np.dtype[np.float64]], foreseen: Foreseen) -> None:
    changes = np.diff(foreseen.mixed[STEPS_NOT_COUNTED:]).astype(int)
    first = STEPS_NOT_COUNTED
    if len(changes) > STRETCH_STEPS:
        first += int(np.argmax(np.convolve(changes, np.ones(STRETCH_STEPS), mode="valid")))
    stretch = slice(first, first + STRETCH_STEPS)
    since_s = (at_s - at_s[0])[stretch]
    lower_ms, upper_ms = 1e3 * foreseen.lower_s[stretch], 1e3 * foreseen.upper_s[stretch]
    axes.fill_between(
        since_s, lower_ms, upper_ms, step="mid", color="tab:green", alpha=0.3, lw=0, label="90 % interval"
    )
    axes.step(since_s, 1e3 * foreseen.expected_s[stretch], where="mid", color="tab:green", lw=0.6, label="predicted")
    for name, kind, colour in (("mixed", foreseen.mixed, MIXED), ("decode only", ~foreseen.mixed, DECODE)):
        shown = kind[stretch]
        axes.scatter(
            since_s[shown], 1e3 * foreseen.actual_s[stretch][shown], s=5, c=colour, lw=0, label=f"actual, {name}"
        )
    axes.set(xlabel="seconds into the log", ylabel="step time, ms", ylim=(0.0, 1.25 * upper_ms.max()))
    axes.set_title(log, fontsize=7)
    axes.legend(fontsize=6, ncols=4, loc="upper left")


if __name__ == "__main__":
    sys.exit(main())
