"""The live experiment: the same load for each planner, and the page that tells what came of it."""

import pytest

from loadgen.experiments.lens_live_page import Compared, page
from loadgen.experiments.live_benches import BENCHES
from loadgen.experiments.live_loads import EMULATED, LLAMACPP
from loadgen.experiments.live_rows import LiveRow, live_row
from loadgen.load import Settings
from loadgen.outcome import Outcome
from loadgen.report import make_report
from services.lens.planners import planner_named

ATTAINED = {"synergy": 0.9, "static-64": 0.4, "static-512": 0.5, "static-64-relegating": 0.6}


def row(planner: str, attainment: float, seed: int, **changed: object) -> LiveRow:
    fields = {
        "system": "emulated",
        "emulated": True,
        "planner": planner,
        "times_capacity": 1.3,
        "rate_per_s": 2.6,
        "seed": seed,
        "offered": 40,
        "attainment": attainment,
        "goodput_per_s": 1.5,
        "failed": 0,
        "ttft_p50_s": 0.25,
        "ttft_p99_s": 1.0,
        "tpot_p50_s": 0.03,
        "tpot_p99_s": 0.04,
        "probe_s": None,
        "late_share": 0.004,
        "overloads": (),
    }
    return LiveRow(**{**fields, **changed})  # type: ignore[arg-type]


def test_every_planner_can_be_run_and_the_best_fixed_are_among_them():
    for bench in BENCHES:
        for planner in bench.planners:
            planner_named(planner)
        assert {"synergy", *bench.fixed} < set(bench.planners)
        assert list(bench.rates_per_s) == sorted(bench.rates_per_s)


@pytest.mark.parametrize("load", [EMULATED, LLAMACPP])
def test_a_load_is_the_same_for_the_same_seed_and_as_long_as_was_asked(load):
    requests = load.draw(4.0, seed=7)
    assert requests == load.draw(4.0, seed=7)
    assert requests != load.draw(4.0, seed=8)
    assert len(requests) == round(4.0 * load.duration_s)
    assert {request.slo.name for request in requests} == {"chat", "document"}
    assert 0.4 < requests[-1].arrival_s / (load.duration_s * load.time_scale) < 1.6
    chat = next(request for request in requests if request.slo.name == "chat")
    assert chat.slo.ttft_s == pytest.approx(load.clients[0].traffic.slo.ttft_s * load.time_scale)
    assert all(isinstance(request.prompt, str) and request.ignore_eos for request in requests)


def test_a_run_is_told_in_the_engines_own_time():
    (request, *_) = EMULATED._replace(time_scale=2.0).draw(1.0, seed=0)
    outcome = Outcome(
        request=request, sent_s=request.arrival_s, ttft_s=0.5, e2e_s=2.5, text="a", finish_reason="length",
        output_tokens=41,
    )  # fmt: skip
    settings = Settings(url="", model="", requests=1, seed=0, timeout_s=1.0, rate_per_s=1.0, time_scale=2.0)
    found = live_row("emulated", "synergy", 1.3, make_report(settings, [outcome], (), (), 4.0), None)
    assert found.ttft_p50_s == 0.25
    assert found.tpot_p50_s == pytest.approx(0.025)
    assert found.goodput_per_s == pytest.approx(0.5)
    assert found.late_share is None


def test_the_page_shows_a_rate_a_line_and_says_what_was_emulated_and_how_late():
    rows = [row(planner, value + 0.1 * seed, seed) for planner, value in ATTAINED.items() for seed in (0, 1)]
    text = page(rows, [Compared("emulated", EMULATED)])
    assert "**Emulated**: the engines compute nothing" in text
    assert "over 1 ms late: 0.4% on average" in text
    assert "| requests/s | 64 | 512 | r64 | synergy |" in text
    assert "| 2.6, 1.3 × capacity | 45 ± 64 | 55 ± 64 | 65 ± 64 | **95** ± 64 |" in text
    assert "| 2.6, 1.3 × capacity | 55 | +10 | +30 | **95** |" in text
    assert "| 2.6, 1.3 × capacity | 64 | 1.50 | 0.25 | 1.00 | 30 | 40 |" in text


def test_the_page_says_how_steady_the_machine_was_and_which_runs_do_not_count():
    of_real = {"system": "llamacpp", "emulated": False, "late_share": None}
    rows = [row(planner, value, 0, probe_s=0.5, **of_real) for planner, value in ATTAINED.items()]
    rows += [row(planner, value, 1, probe_s=0.4, overloads=("busy",), **of_real) for planner, value in ATTAINED.items()]
    text = page(rows, [Compared("llamacpp", LLAMACPP)])
    assert "400 to 500 ms" in text
    assert "4 of 8 runs were on an overloaded machine" in text
