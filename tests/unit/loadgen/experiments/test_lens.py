"""The lens experiment: every planner can be run, and the page tells what each part is worth."""

from pathlib import Path

from loadgen.experiments.lens import LOADS, PLANNERS, cells
from loadgen.experiments.lens_page import page
from services.lens.planners import planner_named
from tests.unit.loadgen.experiments.rows import row


def test_every_cell_can_be_run_and_none_is_there_twice():
    planned = cells(Path(), 8, smoke=False)
    for cell in planned:
        planner_named(cell.scenario.planner)
    assert len({(c.workload, c.rate, c.scenario.planner) for c in planned}) == len(planned)
    assert len(planned) == len(PLANNERS) * sum(map(len, LOADS.values()))


def test_the_gain_is_split_between_the_best_of_each_kind():
    attained = {
        "static-256": 0.30,
        "static-512": 0.40,
        "static-256-relegating": 0.70,
        "static-512-relegating": 0.45,
        "static-256-triaging": 0.60,
        "static-512-triaging": 0.80,
        "published": 0.99,
        "synergy": 0.92,
    }
    text = page([row(planner, "round-robin", attainment) for planner, attainment in attained.items()])
    assert "| conversation 6 | 40 | +30 | +10 | +12 | **92** |\n" in text
    assert "| requests/s | 256 | 512 | r256 | r512 | t256 | t512 | published | synergy |" in text
