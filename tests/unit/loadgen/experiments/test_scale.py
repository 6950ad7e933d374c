"""The scale experiment: its sweeps are as told, every point is run once, and the page says where size, lateness or errors cost."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from loadgen.experiments import scale
from loadgen.experiments.scale_criteria import by_point, claims
from loadgen.experiments.scale_loads import MANY_S, SMOKED, SOME_S, SWEEPS, Point, Sweep, at_size, points
from loadgen.experiments.scale_page import figure, page
from loadgen.experiments.scale_rows import ScaleRow, TimedRun, row_of
from loadgen.score import Score
from loadgen.simulate.rows import RunScore

USUAL = Point()
SIZES, ROUTERS, DELAYS, ERRORS = SWEEPS


def timed(attained: int, busy_s: float = 2.0) -> TimedRun:
    total = Score(
        offered=100, ended_well=100, attained=attained, attainment=attained / 100, output_tokens=1, ttft_s=None, tpot_s=None,
        itl_s=None, e2e_s=None, ttft_foresight=None, tpot_foresight=None,
    )  # fmt: skip
    of_run = RunScore(
        seed=0, total=total, goodput_per_s=1.0, tokens_per_s=1.0, kept_tokens_per_s=1.0, e2e_attainment={}, refused=0.02, steps=1234,
        duration_s=30.0,
    )  # fmt: skip
    return TimedRun(of_run, busy_s)


def rows_at(point: Point, **attained: tuple[int, int]) -> list[ScaleRow]:
    return [
        ScaleRow(
            workload=point.name,
            rate=point.rate_per_s,
            policy=policy.replace("_", "-"),
            seeds=(0, 1),
            runs=[timed(each) for each in of_seeds],
        )
        for policy, of_seeds in attained.items()
    ]


def everywhere(sweeps: Sequence[Sweep], ours: tuple[int, int], rival: tuple[int, int]) -> list[ScaleRow]:
    return [row for point in points(sweeps) for row in rows_at(point, synergy=ours, least_tokens=rival)]


def test_every_point_is_run_once_by_every_policy_and_the_largest_first():
    planned = scale.cells(Path(), points(SWEEPS))
    assert len({(cell.workload, cell.scenario.policy) for cell in planned}) == len(planned)
    assert len(planned) == len(points(SWEEPS)) * (1 + len(scale.CONTENDERS))
    engines = [len(cell.scenario.engines) for cell in planned]
    assert engines == sorted(engines, reverse=True)


def test_a_sweep_changes_one_thing():
    assert [point.engines for point in SIZES.points.values()] == [10, 100, 10, 100, 1000]
    assert {point._replace(engines=10) for point in SIZES.points.values()} == {
        Point(arriving_s=arriving_s) for arriving_s in (SOME_S, MANY_S)
    }
    assert {point._replace(replicas=1) for point in ROUTERS.points.values()} == {USUAL}
    assert {point._replace(delay_s=0.05) for point in DELAYS.points.values()} == {USUAL}
    assert {point._replace(misjudged=()) for point in ERRORS.points.values()} == {USUAL}
    assert all(USUAL in sweep.points.values() for sweep in (ROUTERS, DELAYS, ERRORS))


def test_fleets_of_all_sizes_are_made_of_the_same_parts_and_asked_for_as_much_an_engine():
    for point in SIZES.points.values():
        parts = Counter(point.fleet.values())
        assert {profile: count / point.engines for profile, count in parts.items()} == {
            "h100-llama3.1-8b": 0.2,
            "a100-llama3.1-8b": 0.4,
            "2xa6000-llama3.1-8b": 0.4,
        }
        assert point.rate_per_s / point.engines == pytest.approx(USUAL.rate_per_s / USUAL.engines)


def test_what_is_smoked_are_the_ends_of_every_sweep_but_shorter_and_without_the_largest_fleet():
    assert [sweep.title for sweep in SMOKED] == [sweep.title for sweep in SWEEPS]
    whole = {point._replace(arriving_s=0.0) for point in points(SWEEPS)}
    smoked = points(SMOKED)
    assert {point._replace(arriving_s=0.0) for point in smoked} < {point for point in whole if point.engines < 1000}
    assert max(point.arriving_s for point in smoked) <= 1.0


def test_points_are_told_apart_by_name():
    assert len({point.name for point in points(SWEEPS)}) == len(points(SWEEPS))
    assert Point(replicas=8, misjudged=(0.8, 1.2)).name == "10 engines, 8 routers, 50 ms late, times 0.8 or 1.2, 10 s"


def test_a_row_is_of_its_cell():
    [cell] = scale.cells(Path(), [USUAL])[:1]
    row = row_of((0, 1), cell, [timed(90), timed(94)])
    assert (row.workload, row.policy, row.seeds) == (USUAL.name, "synergy", (0, 1))
    assert row.attainment.mean == pytest.approx(0.92)
    assert row.refused.mean == pytest.approx(0.02)
    assert row.brier is None


def test_being_behind_is_told_by_how_much_and_where():
    late = DELAYS.points["2"]
    rows = [*everywhere((ROUTERS,), (95, 97), (94, 95)), *rows_at(late, synergy=(90, 92), least_tokens=(93, 93))]
    everywhere_ahead, routers = claims(by_point(rows), SWEEPS)
    assert everywhere_ahead.verdict == "missed by 1.0 (telemetry delay, s: 2)"
    assert everywhere_ahead.found.startswith(
        "from -2.0 ± 12.7 beside least-tokens, 93.0 (telemetry delay, s: 2) to +1.5 ± "
    )
    assert routers.verdict == "met"
    assert routers.found == "+0.0 ± 0.0 beside 1, 96.0 (routers: 8)"


def test_a_thousand_engines_are_held_against_ten():
    few, many = (SIZES.points[at_size(engines, MANY_S)] for engines in (10, 1000))
    rows = [
        *rows_at(few, synergy=(99, 99), least_tokens=(90, 90)),
        *rows_at(many, synergy=(96, 96), least_tokens=(90, 90)),
    ]
    *_, of_size = claims(by_point(rows), SWEEPS)
    assert of_size.verdict == "missed by 2.0 (engines: 1,000 (0.25 s))"


def test_the_page_has_every_sweep_and_says_how_long_it_took():
    rows = everywhere(SWEEPS, (95, 97), (94, 94))
    text = page(rows, SWEEPS)
    assert "| 1,000 (0.25 s) | **96.0 ± 12.7** | 94.0 ± 0.0 | +2.0 ± 12.7 | 2.0 ± 0.0 | – | – |\n" in text
    assert "| ±20 % | **96.0 ± 12.7** |" in text
    assert f"| {USUAL.name} | 100 | 30 | 1,234 | 2.0 | 2.0 |\n" in text
    assert "seeds\n0 to 1" in text
    drawn = figure(rows, SWEEPS)
    assert drawn == figure(rows, SWEEPS)
    for text in ("±20 %", "1,000", "0.25 s", "least-tokens", "telemetry delay, s"):
        assert f">{text}</text>" in drawn
