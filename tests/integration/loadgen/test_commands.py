"""The commands against an OpenAI endpoint that knows nothing of this project."""

import csv
import os
from pathlib import Path

import msgspec
import pytest

from loadgen.__main__ import main
from loadgen.benchmarks.processes import even_pace_endpoint
from loadgen.commands.goodput import Search
from loadgen.repeats import Repeats
from loadgen.report import Report
from loadgen.synthetic import Synthetic
from tests.servers import free_port

TTFT_MS, GAP_MS = 60.0, 5.0
TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"2023-11-16 18:15:{number // 10:02}.{number % 10}00000,{100 + number},{2 + number % 5}\n" for number in range(30)
)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    core = min(os.sched_getaffinity(0))
    with even_pace_endpoint(tmp_path_factory.mktemp("endpoint"), core, TTFT_MS, GAP_MS) as url:
        yield url


@pytest.fixture
def trace(tmp_path) -> Path:
    path: Path = tmp_path / "conv.csv"
    path.write_text(TRACE)
    return path


def test_a_trace_is_replayed_with_its_lengths_and_reported_in_three_forms(url, trace, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "--url", f"{url}/v1", "--arrivals", "trace", "--trace", str(trace), "--rate", "40"]
    assert main([*arguments, "--class", "chat:ttft_ms=5000", "--warm-up", "0.2", "--name", "replay"]) == 0
    report = msgspec.json.decode(Path("runs/replay.json").read_bytes(), type=Report)
    assert len(report.outcomes) == 30
    assert 0 < report.warm_up_requests < 30
    assert report.total.attainment == 1.0
    assert report.total.ttft_s is not None
    assert 0.06 <= report.total.ttft_s.p50 < 1.0
    assert report.own_load is not None
    rows = list(csv.DictReader(Path("runs/replay.csv").read_text().splitlines()))
    assert [int(row["output_tokens"]) for row in rows] == [2 + number % 5 for number in range(30)]
    assert "<svg" in Path("runs/replay.html").read_text()


def test_repeats_have_the_next_seeds_and_intervals(url, tmp_path):
    written = tmp_path / "repeats.json"
    arguments = ["run", "--url", url, "--rate", "100", "--requests", "10", "--repeats", "3", "--seed", "5"]
    assert main([*arguments, "--report", str(written)]) == 0
    repeats = msgspec.json.decode(written.read_bytes(), type=Repeats)
    assert [report.settings.seed for report in repeats.reports] == [5, 6, 7]
    assert repeats.summary["ttft_p50_s"].ci95 is not None


def test_a_closed_loop_has_as_many_open_as_clients(url, tmp_path):
    written = tmp_path / "closed.json"
    arguments = ["run", "--url", url, "--arrivals", "closed", "--concurrency", "4", "--requests", "12"]
    assert main([*arguments, "--report", str(written)]) == 0
    outcomes = msgspec.json.decode(written.read_bytes(), type=Report).outcomes
    edges = sorted(edge for o in outcomes if o.e2e_s is not None for edge in ((o.sent_s, 1), (o.sent_s + o.e2e_s, -1)))
    most, now = 0, 0
    for _, change in edges:
        now += change
        most = max(most, now)
    assert most == 4


def test_goodput_is_searched_and_ends_honestly(url, tmp_path):
    """The endpoint's TTFT is the same at every rate: whichever is allowed is kept, or none is."""
    written, page = tmp_path / "goodput.json", tmp_path / "goodput.html"
    arguments = ["goodput", "--url", url, "--rate", "10", "--requests", "10", "--repeats", "2", "--highest", "40"]
    easy = [*arguments, "--class", "easy:ttft_ms=5000", "--report", str(written), "--html", str(page)]
    assert main(easy) == 0
    search = msgspec.json.decode(written.read_bytes(), type=Search)
    assert [point.rate_per_s for point in search.goodput.points] == [10.0, 20.0, 40.0]
    assert (search.goodput.rate_per_s, len(search.reports)) == (40.0, 6)
    assert "may be higher" in search.goodput.reason
    assert "<svg" in page.read_text()
    assert main([*arguments, "--lowest", "10", "--class", "hard:ttft_ms=1", "--report", str(written)]) == 1
    assert msgspec.json.decode(written.read_bytes(), type=Search).goodput.rate_per_s is None


def test_classes_with_traces_of_their_own_may_stand_in_a_file_and_are_reported_one_by_one(url, trace, tmp_path):
    documents = tmp_path / "documents.csv"
    documents.write_text("prompt_tokens,output_tokens\n900,3\n")
    mix = tmp_path / "mix.args"
    mix.write_text(
        f"# two kinds of clients\n--class chat:rate=30,ttft_ms=5000,trace={trace}\n"
        f"--class document:rate=10,ttft_ms=9000,trace={documents},longer=2 --requests 40\n"
    )
    written = tmp_path / "mix.json"
    assert main(["run", "--url", url, f"@{mix}", "--report", str(written)]) == 0
    report = msgspec.json.decode(written.read_bytes(), type=Report)
    assert (report.settings.rate_per_s, report.settings.source) == (40.0, "conv.csv, documents.csv")
    offered = {group.slo_class: group.score.offered for group in report.groups if group.engine == "all"}
    assert offered["all"] == 40
    assert min(offered["chat"], offered["document"]) > 0
    asked = {o.request.prompt.tokens for o in report.outcomes if isinstance(o.request.prompt, Synthetic)}
    assert 1800 in asked
    assert min(asked) < 130


def test_a_trace_that_is_none_is_told_with_its_place(url, trace, capsys):
    trace.write_text(TRACE.replace(",103,", ",x,"))
    assert main(["run", "--url", url, "--trace", str(trace)]) == 2
    assert "line 5, ContextTokens: 'x' is not a whole number" in "".join(capsys.readouterr().out.split("\n"))


def test_nobody_listening_is_told(capsys):
    assert main(["run", "--url", f"http://127.0.0.1:{free_port()}"]) == 1
    assert "GET http://127.0.0.1" in capsys.readouterr().out
