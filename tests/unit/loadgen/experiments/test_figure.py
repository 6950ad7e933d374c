"""Figures of pages: small, whole documents, and the same bytes for the same values."""

import re

import pytest

from loadgen.experiments.figure import Bars, Curves, Value, bars_figure, curves_figure
from loadgen.plots.drawing import MOST_COLOURS

MANY = [f"policy-{number}" for number in range(MOST_COLOURS + 4)]
MOST_BYTES = 60_000


def curves(names: list[str]) -> Curves:
    values = {load: Value(100.0 - load, 2.0) for load in (0.5, 0.75, 1.0, 1.2)}
    return Curves("mixed", dict.fromkeys(names, values), marks=(1.0,))


def bars(names: list[str]) -> Bars:
    groups = ("conversation", "code", "documents", "mixed", "others")
    return Bars("at 1.2 times capacity", {group: {name: Value(50.0, 3.0) for name in names} for group in groups})


@pytest.mark.parametrize(
    "draw",
    [
        lambda: curves_figure([curves(["synergy", *MANY])] * 4, "times capacity", "%", ours="synergy"),
        lambda: bars_figure([bars(["synergy", *MANY])] * 2, "%", ours="synergy"),
    ],
)
def test_a_figure_is_a_small_document_and_always_the_same(draw):
    drawing = draw()
    assert drawing == draw()
    assert len(drawing.encode()) < MOST_BYTES
    assert drawing.startswith("<svg ")
    assert drawing.endswith("</svg>\n")
    assert "date" not in drawing.lower()


def test_every_name_is_in_the_legend_once_and_ours_is_the_first():
    drawing = curves_figure([curves(["b", "ours"]), curves(["a"])], "x", "y", ours="ours")
    assert [text for text in re.findall(r">([^<>\n]+)</text>", drawing) if text in ("a", "b", "ours")] == [
        "ours",
        "b",
        "a",
    ]


def test_who_has_no_value_in_a_group_has_no_bar_there():
    shown = [Bars("", {"code": {"a": Value(1.0), "b": Value(2.0)}, "mixed": {"a": Value(3.0)}})]
    fewer = bars_figure(shown, "%", ours="none")
    more = bars_figure([Bars("", {"code": shown[0].of["code"], "mixed": shown[0].of["code"]})], "%", ours="none")
    assert len(fewer) < len(more)


def test_a_logarithmic_axis_is_labelled_in_plain_numbers():
    by_engines = {float(engines): Value(1.0) for engines in (10, 100, 1000)}
    drawing = curves_figure([Curves("", {"synergy": by_engines})], "engines", "ms", ours="synergy", logarithmic=True)
    assert ">1,000</text>" in drawing
