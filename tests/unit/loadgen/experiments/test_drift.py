"""The drift experiment: what befalls the fleet is as told, windows are by arrival, and the page says what did not come back."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest

from loadgen.experiments import drift
from loadgen.experiments.drift_criteria import back_after_s, by_load, claims, yardstick
from loadgen.experiments.drift_loads import (
    BEYOND,
    CARRIED,
    LINES,
    SMOKED,
    SMOKED_TIMELINE,
    STRUCK,
    TIMELINE,
    Kind,
    Line,
    Stretch,
    Timeline,
)
from loadgen.experiments.drift_page import ANEW, ERRORS_FIGURE, FIGURE, figures, page
from loadgen.experiments.drift_series import SeedSeries, SeriesRow, Window, difference, row_of, series_of
from loadgen.experiments.prism_loads import ENGINES
from loadgen.outcome import Outcome
from loadgen.simulate.fleet import Die, Join, Slow
from tests.unit.loadgen.simulate.builders import request

SHORT = Timeline(window_s=1.0, before_from_s=0.0, before_to_s=2.0, at_s=3.0, back_s=2.0, judged_s=2.0, arriving_s=8.0)
DIES = Line(Kind.DIES, BEYOND[1].rate_per_s)
FINE = (10, 10, 10, 4, 6, 9, 10, 10)
"""Promises kept of ten, by window: the incident is at the fourth."""


def series(attained: Sequence[int], **changes: object) -> SeedSeries:
    return SeedSeries([msgspec.structs.replace(Window(offered=10, attained=each), **changes) for each in attained])


def series_row(line: Line, policy: str, *of_seeds: SeedSeries) -> SeriesRow:
    workload, rate = line.key
    return SeriesRow(
        workload=workload, rate=rate, policy=policy, seeds=(0, 1)[: len(of_seeds)], window_s=1.0, series=of_seeds
    )


def outcome(arrival_s: float, *, ttft_s: float = 0.5, p_met: float | None = None, refused: bool = False) -> Outcome:
    asked = request(arrival_s)
    if refused:
        return Outcome(request=asked, sent_s=arrival_s, status=429, error="full")
    return Outcome(
        request=asked, sent_s=arrival_s, status=200, ttft_s=ttft_s, e2e_s=ttft_s + 0.02, text="a", finish_reason="length",
        output_tokens=3, predicted_ttft_s=0.6, p_met=p_met,
    )  # fmt: skip


def test_every_cell_is_there_once_and_ours_also_on_the_fleet_as_it_then_is():
    planned = drift.cells(Path(), LINES, TIMELINE.at_s, TIMELINE.arriving_s)
    keys = {(cell.workload, cell.rate, cell.scenario.policy) for cell in planned}
    assert len(keys) == len(planned) == len(LINES) * (len(drift.CONTENDERS) + 2)
    assert {line._replace(anew=True).key for line in LINES} < {key[:2] for key in keys}
    assert set(SMOKED) <= set(LINES)
    assert len({line.key for line in LINES}) == len(LINES)


@pytest.mark.parametrize(
    ("kind", "incident"),
    [
        (Kind.SLOWS, Slow(30.0, STRUCK, 1.5)),
        (Kind.DIES, Die(30.0, STRUCK)),
        (Kind.JOINS, Join(30.0, STRUCK, ENGINES[STRUCK])),
    ],
)
def test_what_befalls_the_fleet_makes_of_it_what_the_other_is_from_the_beginning(kind, incident):
    line = Line(kind, 10.0)
    assert line.incidents(30.0) == (incident,)
    assert (STRUCK in line.engines) == (kind is not Kind.JOINS)
    anew = line._replace(anew=True)
    assert (STRUCK in anew.engines) == (kind is not Kind.DIES)
    assert anew.incidents(30.0) == ((Slow(0.0, STRUCK, 1.5),) if kind is Kind.SLOWS else ())


@pytest.mark.parametrize("timeline", [TIMELINE, SMOKED_TIMELINE])
def test_stretches_are_whole_windows_before_at_once_after_and_then(timeline):
    assert timeline.before.to_s < timeline.at_s == timeline.meanwhile.from_s
    assert timeline.meanwhile.to_s == timeline.after.from_s
    assert timeline.after.to_s < timeline.arriving_s
    for at_s in (*timeline.before, *timeline.meanwhile, *timeline.after):
        assert at_s / timeline.window_s == pytest.approx(round(at_s / timeline.window_s))


def test_what_only_the_larger_fleet_can_carry_is_more():
    assert [line.kind for line in CARRIED] == [line.kind for line in BEYOND] == list(Kind)
    assert all(few.rate_per_s < many.rate_per_s for few, many in zip(CARRIED, BEYOND, strict=True))


def test_a_request_counts_in_the_window_in_which_it_arrived():
    of_run = series_of(
        [
            outcome(2.9, ttft_s=9.0, p_met=0.5),
            outcome(0.1, p_met=0.9),
            outcome(0.2, refused=True),
            outcome(2.0, p_met=0.75),
            outcome(8.5),
        ],
        SHORT,
    )
    first, second, third, *others = of_run.windows
    assert (first.offered, first.attained, first.refused) == (2, 1, 1)
    assert first.ttft_error_p50 == pytest.approx(0.2)
    assert second == Window()
    assert (third.offered, third.attained, third.told, third.kept) == (2, 1, 2, 1)
    assert third.foreseen == pytest.approx(1.25)
    assert others == [Window()] * 5


def test_a_row_keeps_its_runs_and_gives_their_stretches():
    [cell] = drift.cells(Path(), [DIES], 3.0, 8.0)[:1]
    row = row_of(1.0, (0, 1), cell, [series(FINE), series(FINE)])
    assert row.key == (*DIES.key, "synergy")
    assert [[window.attained for window in windows] for windows in row.within(Stretch(3.0, 5.0))] == [[4, 6]] * 2
    assert [middle_s for middle_s, _ in row.over_time()] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]
    assert msgspec.json.decode(msgspec.json.encode(row), type=SeriesRow) == row


def rows_of(ours: Sequence[int], rival: Sequence[int], anew: Sequence[int], **changes: object) -> list[SeriesRow]:
    worse = [each - 1 for each in ours]
    return [
        series_row(DIES, "synergy", series(ours, **changes), series(worse, **changes)),
        series_row(DIES, "least-tokens", series(rival), series(rival)),
        series_row(DIES._replace(anew=True), "synergy", series(anew), series(anew)),
    ]


def test_what_comes_back_to_where_it_was_has_met_the_criterion():
    back, lead, *_ = claims(by_load(rows_of(FINE, FINE, FINE)), SHORT)
    assert back.verdict == "met"
    assert back.found == f"-5.0 ± 0.0 beside before, 95.0 ({DIES.told})"
    # From the incident on 29 and 25 of 40, beside 29 of 40 twice.
    assert lead.verdict == f"missed by 4.0 ({DIES.told})"
    assert lead.found.startswith("-5.0 ± ")


@pytest.mark.parametrize(
    ("anew", "name", "verdict"), [(8, "the fleet that is left", "met"), (10, "before", "missed by 15.0")]
)
def test_where_less_is_to_be_had_nobody_need_come_back_to_more(anew, name, verdict):
    rows = by_load(rows_of((10, 10, 10, 4, 8, 8, 8, 8), FINE, [anew] * 8))
    assert yardstick(rows, DIES, "synergy", SHORT).name == name
    assert claims(rows, SHORT)[0].verdict.startswith(verdict)


@pytest.mark.parametrize(
    ("kept", "after_s"),
    [(FINE, 3.0), ((10,) * 8, 0.0), ((10, 10, 10, 10, 4, 10, 10, 10), 2.0), ((10,) * 3 + (4,) * 5, None)],
)
def test_it_is_back_with_the_first_of_two_windows_that_are_as_good(kept, after_s):
    assert back_after_s(series_row(DIES, "synergy", series(kept)), 0.95, SHORT) == after_s


def test_chances_that_are_not_kept_as_often_as_they_say_are_told():
    sure = rows_of((10,) * 8, FINE, FINE, told=10, foreseen=9.9, kept=9)
    *_, calibrated = claims(by_load(sure), SHORT)
    assert calibrated.verdict.startswith(f"missed by 4.0 ({DIES.told}, before)")
    assert calibrated.found.startswith("99.0 % foreseen, 90.0 % kept (")


def test_differences_are_taken_seed_by_seed_where_both_have_something():
    found = difference([0.9, None, 0.7], [0.8, 0.1, 0.9])
    assert found is not None
    assert found.mean == pytest.approx(-0.05)
    assert found.count == 2
    assert difference([None], [0.5]) is None


def pages(rows: Sequence[SeriesRow]) -> tuple[str, Mapping[str, str]]:
    return page(rows, SHORT), figures(rows, SHORT)


def test_the_page_has_every_load_and_figure():
    told = partial(rows_of, told=10, foreseen=9.0, kept=8, ttft_error_p50=0.25, tpot_error_p50=0.5)
    text, drawn = pages(told(FINE, (10,) * 8, FINE))
    assert f"| {DIES.told} | synergy | 95.0 ± 63.5 | 45.0 ± 63.5 | 90.0 ± 63.5 |" in text
    assert "|  | least-tokens | 100.0 ± 0.0 | 100.0 ± 0.0 | 100.0 ± 0.0 | – | 100.0 ± 0.0 | 0.0 | 0.0 ± 0.0 |\n" in text
    assert f"| {DIES.told} | before | 25 | 50 | 90.0 | 80.0 |\n" in text
    assert "|  | 2 to 4 s | 25 | 50 | 90.0 | 80.0 |\n" in text
    assert "seeds 0 to 1" in text
    assert f"({FIGURE})" in text
    assert f"({ERRORS_FIGURE})" in text
    assert set(drawn) == {FIGURE, ERRORS_FIGURE}
    assert f">{ANEW}</text>" in drawn[FIGURE]
    assert f">{DIES.name}, {DIES.rate_per_s:g} requests/s</text>" in drawn[ERRORS_FIGURE]
