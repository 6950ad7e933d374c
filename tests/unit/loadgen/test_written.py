"""What is written of a run beside the JSON: rows and a page."""

import csv
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from loadgen.engines import Engine, StepModelCard
from loadgen.goodput import Goodput, Point
from loadgen.lag import OwnLoad
from loadgen.load import Settings
from loadgen.page import write_goodput_page, write_page
from loadgen.repeats import make_repeats
from loadgen.report import Report, make_report
from loadgen.rows import COLUMNS, write_rows
from loadgen.student import estimate
from loadgen.tables import repeats_table
from shared.slo import Slo
from shared.step import LATENESS_BOUNDS_MS
from tests.unit.loadgen.outcomes import an_outcome

SETTINGS = Settings(url="http://router", model="a <model>", requests=2, seed=3, timeout_s=60.0, rate_per_s=2.0)
GAPS = np.full(10, 0.05, "<f4").tobytes()


def a_report(seed: int = 3, rate_per_s: float = 2.0, warm_up_s: float = 0.0) -> Report:
    outcomes = [
        an_outcome(arrival_s=0.0, gaps=GAPS),
        an_outcome(arrival_s=1.0, gaps=GAPS, ttft_s=0.4 + seed / 10, engine="small", slo=Slo(name="batch", e2e_s=9.0)),
        an_outcome(arrival_s=2.0, error="gone & lost", engine=None, predicted_ttft_s=None, ttft_s=None, e2e_s=None),
    ]
    settings = msgspec.structs.replace(SETTINGS, seed=seed, rate_per_s=rate_per_s, warm_up_s=warm_up_s)
    return make_report(settings, outcomes, (), (), 10.0, OwnLoad(0.001, 0.01, 0.1))


def _elements(svg: str) -> Iterator[ET.Element]:
    return ET.fromstring(svg).iter()  # noqa: S314 - the test's own drawing


def check_self_contained(page: str) -> None:
    """No element may fetch anything, and the drawings must be well-formed, with ids of their own."""
    assert not re.search(r"<(link|script|img|iframe|object|embed|base)\b", page)
    assert not re.search(r"@import|url\((?!#)", page)
    assert all(target.startswith("#") for target in re.findall(r'(?:href|src)="([^"]*)"', page))
    addresses = set(re.findall(r"[a-z]+://[^\s\"'<]+", page)) - {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not addresses
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    ids = [element.attrib["id"] for svg in drawings for element in _elements(svg) if "id" in element.attrib]
    assert drawings
    assert len(ids) == len(set(ids))


def test_a_row_a_request_warm_up_included(tmp_path):
    write_rows([a_report(warm_up_s=0.5), a_report(seed=4)], tmp_path / "runs/a.csv")
    rows = list(csv.DictReader((tmp_path / "runs/a.csv").read_text().splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["seed"], row["scored"]) for row in rows] == [("3", "0"), ("3", "1"), ("3", "1")] + [("4", "1")] * 3
    assert (rows[0]["ttft_ms"], rows[0]["itl_p99_ms"], rows[0]["attained"]) == ("500.000", "50.000", "1")
    assert (rows[2]["engine"], rows[2]["ttft_ms"], rows[2]["problem"]) == ("", "", "gone & lost")


def test_a_page_stands_alone_and_has_every_plot(tmp_path):
    write_page([a_report(), a_report(seed=4)], tmp_path / "runs/a.html")
    page = (tmp_path / "runs/a.html").read_text()
    check_self_contained(page)
    assert page.count("<svg") == 3
    assert "a &lt;model&gt;" in page
    assert "FAILED: 1 requests did not end well, the first: gone &amp; lost" in page
    assert "2 repeats" in page


def on_emulated_engines() -> Report:
    """The first request was answered by an emulated engine that ended half its steps late, the second by a real one."""
    counts = (50,) + (0,) * (len(LATENESS_BOUNDS_MS) - 1) + (50,)
    engine = Engine("large", "h100-emulated", StepModelCard(), emulated=True, lateness_counts=counts)
    return make_report(SETTINGS, a_report().outcomes, (engine,), (), 10.0)


def test_a_row_says_whether_its_engine_was_emulated(tmp_path):
    write_rows([on_emulated_engines()], tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [(row["engine"], row["emulated"]) for row in rows] == [("large", "1"), ("small", "0"), ("", "")]


def test_a_page_says_that_engines_were_emulated_and_could_not_keep_their_time(tmp_path):
    write_page([on_emulated_engines()] * 2, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert "EMULATED engines</h1>" in page
    assert page.count("EMULATED: large took the time of profiled GPUs and computed nothing") == 1
    assert "INVALID: the machine was overloaded: emulated engine large: 50 of 100 steps (50.0%)" in page


def test_what_sums_runs_up_says_that_engines_were_emulated():
    repeats = make_repeats([a_report(), on_emulated_engines()])
    assert repeats.emulated_engines == ("large",)
    assert "EMULATED engines" in str(repeats_table(repeats).title)
    assert "EMULATED" not in str(repeats_table(make_repeats([a_report()])).title)


def test_the_page_of_a_search_shows_attainment_against_rate(tmp_path):
    points = (Point(2.0, estimate([0.95, 0.93]), kept=True), Point(4.0, estimate([0.5, 0.6]), kept=False))
    goodput = Goodput(target=0.9, rate_per_s=2.0, fails_at_per_s=4.0, reason="enough", points=points)
    reports = [a_report(seed, rate) for rate in (2.0, 4.0) for seed in (3, 4)]
    write_goodput_page(goodput, reports, tmp_path / "g.html")
    page = (tmp_path / "g.html").read_text()
    check_self_contained(page)
    assert page.count("<svg") == 4
    assert "requests/s offered" in page


def test_without_predictions_there_is_no_plot_of_them(tmp_path):
    report = a_report()
    bare = [
        msgspec.structs.replace(outcome, predicted_ttft_s=None, predicted_tpot_s=None) for outcome in report.outcomes
    ]
    write_page([msgspec.structs.replace(report, outcomes=tuple(bare))], tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text().count("<svg") == 2


def test_repeats_are_summed_up_with_intervals():
    repeats = make_repeats([a_report(seed=1), a_report(seed=2), a_report(seed=3)])
    assert repeats.summary["attainment"].mean == pytest.approx(2 / 3)
    assert repeats.summary["ttft_p50_s"].mean == pytest.approx(0.55)
    assert repeats.summary["ttft_p50_s"].ci95 == pytest.approx(4.3027 * 0.05 / np.sqrt(3), rel=1e-3)
    assert msgspec.json.decode(msgspec.json.encode(repeats), type=type(repeats)) == repeats


def test_a_run_in_which_all_failed_still_has_a_page(tmp_path):
    failed = [an_outcome(arrival_s=float(at), error="gone", ttft_s=None, e2e_s=None, engine=None) for at in range(3)]
    write_page([make_report(SETTINGS, failed, (), (), 10.0)], tmp_path / "a.html")
    check_self_contained((tmp_path / "a.html").read_text())
