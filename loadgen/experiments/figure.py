"""The figures of experiments' pages, as SVG: curves or bars by what is compared; the same values draw the same bytes. Pure."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
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
TOP_OF_SHARES = 102.0
"""%: nothing attains more, whatever an interval says, and a curve along it is seen."""
ROOM = 1.1
"""Above the highest mean, a factor: the interval of two runs may be many times as long, and is cut off."""
MARGIN = 1.15
"""Between the outermost values and the ends of a logarithmic axis, a factor."""
MORE_DIGITS = re.compile(r"(?<=\.\d\d)\d+")
"""Than anybody sees in a drawing whose unit is a 72nd of an inch."""
FAMILIES = re.compile(r"font-family: [^;\"]*")
"""A list of fonts, with each word of the drawing."""
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
    ticks: Mapping[float, str] = MappingProxyType({})
    """What is written along the x-axis instead of numbers, by place."""


class Bars(NamedTuple):
    """A panel of bars, in groups."""

    title: str
    of: Mapping[str, Mapping[str, Value]]
    """By group, the values by name."""


@styled
def curves_figure(
    shown: Sequence[Curves],
    x_label: str,
    y_label: str,
    *,
    ours: str,
    logarithmic: bool = False,
    columns: int | None = None,
    bottom: float = 0.0,
    top: float | None = None,
) -> str:
    """Panels of curves beside each other, with one legend.

    Args:
        ours: the name that is drawn so that it stands out.
        logarithmic: whether the x-axis is.
        columns: panels a line; all unless told.
        bottom: of the y-axis.
        top: of the y-axis, intervals being cut off there; unless told a little more than the highest mean.
    """
    looks = _looks([name for panel in shown for name in panel.of], ours)

    def draw(axes: Axes, panel: Curves) -> None:
        for name, values in panel.of.items():
            at = sorted(values)
            means = [values[x].mean for x in at]
            apart, ends = _intervals(at, [values[x] for x in at])
            axes.plot([*at, math.nan, *apart], [*means, math.nan, *ends], **looks[name])
        for x in panel.marks:
            axes.axvline(x, color=MARK_COLOUR, lw=0.8, ls=(0, (1, 2)))
        if panel.ticks:
            axes.set_xticks(list(panel.ticks), list(panel.ticks.values()))
        if logarithmic:
            everywhere = [x for values in panel.of.values() for x in values]
            scale_plainly(axes, "x", min(everywhere) / MARGIN, max(everywhere) * MARGIN)
        axes.set(title=panel.title, xlabel=x_label)
        axes.set_ylim(bottom, top or ROOM * _highest(panel.of))

    return _figure(shown, draw, y_label, looks, columns or len(shown))


@styled
def bars_figure(shown: Sequence[Bars], y_label: str, *, ours: str, top: float | None = None) -> str:
    """Panels of bars beside each other, with one legend.

    Args:
        ours: the name that is drawn so that it stands out.
        top: as in `curves_figure`.
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
            axes.plot(*_intervals(at, of_group), color=INTERVAL_COLOUR, lw=INTERVAL_WIDTH)
        axes.set_xticks(range(len(panel.of)), list(panel.of))
        axes.grid(visible=False, axis="x")
        axes.set_title(panel.title)
        axes.set_ylim(0.0, top or ROOM * _highest(panel.of))

    return _figure(shown, draw, y_label, looks, len(shown))


def _figure(
    shown: Sequence[Panel],
    draw: Callable[[Axes, Panel], None],
    y_label: str,
    looks: Mapping[str, Mapping[str, Any]],
    columns: int,
) -> str:
    lines, legend_lines = -(-len(shown) // columns), -(-len(looks) // NAMES_A_LINE)
    inches = WIDTH_INCHES, HEIGHT_INCHES * lines + LEGEND_LINE_INCHES * legend_lines
    figure, rows = panels(lines, columns, inches)
    places = list(chain(*rows))
    for axes, panel in zip(places, shown, strict=False):
        draw(axes, panel)
    for axes in places[len(shown) :]:
        axes.set_visible(False)
    for row in rows:
        row[0].set_ylabel(y_label)
    handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=NAMES_A_LINE)
    return FAMILIES.sub("font-family: sans-serif", MORE_DIGITS.sub("", svg(figure, "figure")))


def _highest(of: Mapping[str, Mapping[Any, Value]]) -> float:
    return max(value.mean for values in of.values() for value in values.values()) or 1.0


def _intervals(at: Sequence[float], values: Sequence[Value]) -> tuple[Sequence[float], Sequence[float]]:
    """As one line with gaps, which is shorter to write down than as many lines."""
    known = [(x, value.mean, value.ci95) for x, value in zip(at, values, strict=True) if value.ci95]
    ends = [(mean - ci95, mean + ci95, math.nan) for _, mean, ci95 in known]
    return list(chain(*((x, x, math.nan) for x, *_ in known))), list(chain(*ends))


def _looks(names: Sequence[str], ours: str) -> Mapping[str, Mapping[str, Any]]:
    """How each is drawn: the same in all panels, ours in black and above the others."""
    looks: dict[str, Mapping[str, Any]] = {}
    others = [name for name in dict.fromkeys(names) if name != ours]
    for place, name in enumerate(others):
        style = LINE_STYLES[place // MOST_COLOURS % len(LINE_STYLES)]
        looks[name] = {"color": f"C{place % MOST_COLOURS}", "ls": style, "lw": 1.1, "zorder": 2}
    return looks if ours not in names else {ours: {"color": OURS_COLOUR, "ls": "-", "lw": 1.8, "zorder": 3}, **looks}
