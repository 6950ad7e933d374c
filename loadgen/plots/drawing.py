"""How plots look, and how they become text."""

import io
import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import wraps
from typing import Literal, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

MOST_POINTS = 2000
"""Of a curve or a cloud, evenly spread: more make the page heavy and no clearer."""
MOST_COLOURS = 8
MOST_TICKS = 20
Parameters = ParamSpec("Parameters")
Drawn = TypeVar("Drawn")


def styled(plot: Callable[Parameters, Drawn]) -> Callable[Parameters, Drawn]:
    """Let all that the function draws look alike."""

    @wraps(plot)
    def draw(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Drawn:
        with _style():
            return plot(*args, **kwargs)

    return draw


def panels(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Figure, Sequence[Sequence[Axes]]]:
    """A figure with so many panels, that share their x-axis from top to bottom."""
    figure = Figure(figsize=inches, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharex="col").tolist()


def scale_plainly(axes: Axes, axis: Literal["x", "y"], low: float, high: float) -> None:
    """A logarithmic axis with numbers as people write them, no more of them than have room."""
    if axis == "x":
        axes.set(xscale="log", xlim=(low, high))
    else:
        axes.set(yscale="log", ylim=(low, high))
    decades = math.log10(high / low)
    labelled = (1.0, 2.0, 5.0) if decades < 1.7 else (1.0, 3.0) if decades < 3.0 else (1.0,)
    scaled = axes.xaxis if axis == "x" else axes.yaxis
    scaled.set_major_locator(LogLocator(subs=labelled, numticks=MOST_TICKS))
    scaled.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    scaled.set_minor_locator(LogLocator(subs=range(2, 10), numticks=MOST_TICKS))
    scaled.set_minor_formatter(NullFormatter())


def svg(figure: Figure, name: str) -> str:
    """The drawing alone, its ids made its own: several stand in one page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r'\bid="', f'id="{name}-', drawing)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", drawing)


def _style() -> AbstractContextManager[None]:
    return mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "report",
            "font.size": 8,
            "axes.titlesize": 9,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.constrained_layout.w_pad": 0.08,
        }
    )
