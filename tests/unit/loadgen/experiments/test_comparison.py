"""The command of the comparisons: how much is run, and where what comes of it is kept."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from loadgen.experiments.comparison import Comparison, Extent, Load, command
from loadgen.experiments.document import Document
from loadgen.simulate.experiment import Cell

asked: list[tuple[Load, Extent]] = []


def nothing(load: Load, extent: Extent) -> Sequence[Cell]:
    asked.append((load, extent))
    return []


TOY = Comparison(
    name="toy",
    about="Nothing.",
    arriving_s={Extent.SMOKE: 1.0, Extent.QUICK: 10.0, Extent.FULL: 60.0},
    cells=nothing,
    document=lambda _rows, load: Document(f"for {load.arriving_s:g} s", "<svg/>"),
    searches=lambda _load: {},
)


@pytest.mark.parametrize(
    ("options", "extent", "rows", "page"),
    [
        ([], Extent.QUICK, "runs/exp-toy.jsonl", "runs/exp-toy.md"),
        (["--smoke"], Extent.SMOKE, "runs/exp-toy-smoke.jsonl", "runs/exp-toy-smoke.md"),
        (["--full"], Extent.FULL, "runs/exp-toy-full.jsonl", "docs/results/toy.md"),
        (["--full", "--seconds", "5", "--page", "a/b.md"], Extent.FULL, "runs/exp-toy-full.jsonl", "a/b.md"),
    ],
)
def test_only_what_is_run_in_full_is_for_the_documents(tmp_path, monkeypatch, options, extent, rows, page):
    monkeypatch.chdir(tmp_path)
    asked.clear()
    assert command(TOY, ["traces", *options]) == 0
    arriving_s = 5.0 if "--seconds" in options else TOY.arriving_s[extent]
    assert asked == [(Load(Path("traces"), arriving_s), extent)]
    assert Path(rows).exists()
    assert Path(page).read_text() == f"for {arriving_s:g} s"
    assert Path(page).with_name("toy.svg").read_text() == "<svg/>"


def test_quick_and_full_exclude_each_other():
    with pytest.raises(SystemExit):
        command(TOY, ["traces", "--smoke", "--full"])
