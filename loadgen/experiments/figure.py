"""The figures of experiments' pages, as SVG: curves or bars by what is compared; the same values draw the same bytes. Pure."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from loadgen.plots.drawing import MOST_COLOURS, panels, scale_plainly, styled, svg

WIDTH_INCHES, HEIGHT_INCHES = 9.5, 2.6
LEGEND_LINE_INCHES = 0.2
NAMES_A_LINE = 4
LINE_STYLES = ("-", "--", ":")
"""One after the other, as colours run out."""
OURS_COLOUR, MARK_COLOUR, INTERVAL_COLOUR = "black", "grey", "dimgrey"
INTERVAL_WIDTH = 0.7
GROUP_WIDTH = 0.84
"""Of the distance between groups of bars."""
MARGIN = 1.15
"""Between the outermost values and the ends of a logarithmic axis, a factor."""
MORE_DIGITS = re.compile(r"(?<=\.\d\d)\d+")
"""Than anybody sees in a drawing whose unit is a 72nd of an inch."""
Panel = TypeVar("Panel", "Curves", "Bars")


class Value(NamedTuple):
    """A mean."""

    mean: float
    ci95: float | None = None
    """Half the width of its 95 % interval."""


class Curves(NamedTuple):
    """A panel of curves."""

    title: str
    of: Mapping[str, Mapping[float, Value]]
    """By name, the values by where they are on the x-axis."""
    marks: Sequence[float] = ()
    """Where on the x-axis there is something to be seen."""


class Bars(NamedTuple):
    """A panel of bars, in groups."""

    title: str
    of: Mapping[str, Mapping[str, Value]]
    """By group, the values by name."""


@styled
def curves_figure(shown: Sequence[Curves], x_label: str, y_label: str, *, ours: str, logarithmic: bool = False) -> str:
    """Panels of curves beside each other, with one legend.

    Args:
        ours: the name that is drawn so that it stands out.
        logarithmic: whether the x-axis is.
    """
    looks = _looks([name for panel in shown for name in panel.of], ours)

    def draw(axes: Axes, panel: Curves) -> None:
        for name, values in panel.of.items():
            at = sorted(values)
            axes.plot(at, [values[x].mean for x in at], **looks[name])
            _draw_intervals(axes, at, [values[x] for x in at], **{**looks[name], "ls": "-", "lw": INTERVAL_WIDTH})
        for x in panel.marks:
            axes.axvline(x, color=MARK_COLOUR, lw=0.8, ls=(0, (1, 2)))
        if logarithmic:
            everywhere = [x for values in panel.of.values() for x in values]
            scale_plainly(axes, "x", min(everywhere) / MARGIN, max(everywhere) * MARGIN)
        axes.set(title=panel.title, xlabel=x_label)

    return _figure(shown, draw, y_label, looks)


@styled
def bars_figure(shown: Sequence[Bars], y_label: str, *, ours: str) -> str:
    """Panels of bars beside each other, with one legend.

    Args:
        ours: the name that is drawn so that it stands out.
    """
    looks = _looks([name for panel in shown for values in panel.of.values() for name in values], ours)

    def draw(axes: Axes, panel: Bars) -> None:
        names = [name for name in looks if any(name in values for values in panel.of.values())]
        width = GROUP_WIDTH / len(names)
        for place, name in enumerate(names):
            left = width * (place - (len(names) - 1) / 2)
            known = [(group + left, values[name]) for group, values in enumerate(panel.of.values()) if name in values]
            at, of_group = [x for x, _ in known], [value for _, value in known]
            axes.bar(at, [value.mean for value in of_group], width, color=looks[name]["color"])
            _draw_intervals(axes, at, of_group, color=INTERVAL_COLOUR, lw=INTERVAL_WIDTH)
        axes.set_xticks(range(len(panel.of)), list(panel.of))
        axes.grid(visible=False, axis="x")
        axes.set_title(panel.title)

    return _figure(shown, draw, y_label, looks)


def _figure(
    shown: Sequence[Panel], draw: Callable[[Axes, Panel], None], y_label: str, looks: Mapping[str, Mapping[str, Any]]
) -> str:
    legend_lines = -(-len(looks) // NAMES_A_LINE)
    figure, [row] = panels(1, len(shown), (WIDTH_INCHES, HEIGHT_INCHES + LEGEND_LINE_INCHES * legend_lines))
    for axes, panel in zip(row, shown, strict=True):
        draw(axes, panel)
        axes.set_ylim(bottom=0.0)
    row[0].set_ylabel(y_label)
    handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=NAMES_A_LINE)
    return MORE_DIGITS.sub("", svg(figure, "figure"))


def _draw_intervals(axes: Axes, at: Sequence[float], values: Sequence[Value], **look: Any) -> None:
    """All in one line with gaps, which is shorter to write down than as many lines."""
    apart = [(x, x, math.nan) for x in at]
    ends = [(value.mean - (value.ci95 or 0.0), value.mean + (value.ci95 or 0.0), math.nan) for value in values]
    axes.plot(list(chain(*apart)), list(chain(*ends)), **look)


def _looks(names: Sequence[str], ours: str) -> Mapping[str, Mapping[str, Any]]:
    """How each is drawn: the same in all panels, ours in black and above the others."""
    looks: dict[str, Mapping[str, Any]] = {}
    others = [name for name in dict.fromkeys(names) if name != ours]
    for place, name in enumerate(others):
        style = LINE_STYLES[place // MOST_COLOURS % len(LINE_STYLES)]
        looks[name] = {"color": f"C{place % MOST_COLOURS}", "ls": style, "lw": 1.1, "zorder": 2}
    return looks if ours not in names else {ours: {"color": OURS_COLOUR, "ls": "-", "lw": 1.8, "zorder": 3}, **looks}
