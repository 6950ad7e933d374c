import io

import msgspec
import pytest
from rich.console import Console
from rich.table import Table

from loadgen.commands.status import INVALID, exit_status
from loadgen.engines import Engine, StepModelCard
from loadgen.lag import OwnLoad
from loadgen.load import Settings
from loadgen.outcome import Outcome
from loadgen.report import NothingScored, Report, make_report
from loadgen.tables import engine_table, foresight_table, latency_table, show
from shared.forecast import ModelHealth
from shared.step import LATENESS_BOUNDS_MS
from tests.unit.loadgen.outcomes import an_outcome

SETTINGS = Settings(url="http://router", model="a-model", rate_per_s=1.0, requests=2, seed=3, timeout_s=60.0)
ENGINES = (
    Engine("large", "cpu-large", StepModelCard(ModelHealth.HEALTHY, 0.0312, 400)),
    Engine("small", "cpu-small", StepModelCard()),
)


def a_report(*outcomes: Outcome, engine_problems: tuple[str, ...] = ()) -> Report:
    return make_report(SETTINGS, outcomes, ENGINES, engine_problems, duration_s=10.0)


def emulated_engine(punctual_steps: int, late_steps: int = 0) -> Engine:
    counts = [0] * (len(LATENESS_BOUNDS_MS) + 1)
    counts[0], counts[-1] = punctual_steps, late_steps
    return Engine("h100", "h100-emulated", StepModelCard(), emulated=True, lateness_counts=tuple(counts))


def on_emulated_engines(*, late_steps: int) -> Report:
    """Of a run of a thousand steps more than those that ended late."""
    before, after = emulated_engine(500, 500), emulated_engine(1_500, 500 + late_steps)
    outcomes = [an_outcome(engine="h100")]
    return make_report(SETTINGS, outcomes, (after,), (), 10.0, engines_before=(before,))


def shown(report: Report) -> str:
    written = io.StringIO()
    show(report, Console(file=written, width=200))
    return written.getvalue()


def rows(table: Table) -> list[list[str]]:
    return [list(row) for row in zip(*(column.cells for column in table.columns), strict=True)]


def test_the_latency_table_has_milliseconds_and_attainment() -> None:
    first = rows(latency_table(a_report(an_outcome(), an_outcome(ttft_s=1.5, e2e_s=2.5))))[0]
    assert first == ["large", "interactive", "2", "1,000", "1,450", "75", "98", "1,750", "1/2 50 %"]


def test_the_foresight_table_sets_what_was_foreseen_beside_what_came() -> None:
    assert rows(foresight_table(a_report(an_outcome())))[0] == [
        "large",
        "interactive",
        "400",
        "500",
        "20 %",
        "50",
        "50",
        "0 %",
    ]


def test_a_request_without_predictions_leaves_dashes() -> None:
    outcome = an_outcome(predicted_ttft_s=None, predicted_tpot_s=None)
    assert rows(foresight_table(a_report(outcome)))[0][2:] == ["–"] * 6


def test_the_engine_table_has_the_error_of_each_step_model() -> None:
    assert rows(engine_table(a_report(an_outcome()))) == [
        ["large", "cpu-large", "healthy", "400", "3.1 %"],
        ["small", "cpu-small", "cold", "0", "–"],
    ]


def test_requests_that_failed_and_engines_that_did_not_learn_are_the_reports_problems() -> None:
    report = a_report(an_outcome(), an_outcome(error="gone"), engine_problems=("engine small: cold",))
    assert report.problems == ("1 requests did not end well, the first: gone", "engine small: cold")


def test_late_sends_are_counted() -> None:
    report = a_report(an_outcome(arrival_s=1.0, sent_s=1.009), an_outcome(arrival_s=1.0, sent_s=1.25))
    assert (report.late_sends, report.latest_send_s) == (1, 0.25)


def test_what_is_shown_holds_answers_and_failures() -> None:
    text = shown(a_report(an_outcome(), an_outcome(error="[gone]")))
    assert "large: They are content." in text
    assert "FAILED: 1 requests did not end well, the first: [gone]" in text
    assert "EMULATED" not in text


def test_the_json_has_the_settings_and_reads_back() -> None:
    report = a_report(an_outcome())
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_requests_of_the_warm_up_are_neither_scored_nor_problems() -> None:
    settings = msgspec.structs.replace(SETTINGS, warm_up_s=2.0, time_scale=2.0)
    outcomes = [an_outcome(arrival_s=3.9, error="gone"), an_outcome(arrival_s=4.1)]
    report = make_report(settings, outcomes, (), (), duration_s=10.0)
    assert (report.warm_up_requests, report.total.offered, report.total.attained) == (1, 1, 1)
    assert report.problems == ()
    assert report.scored == tuple(outcomes[1:])
    assert report.goodput_per_s == pytest.approx(2 / 6)


def test_a_warm_up_as_long_as_the_run_is_refused() -> None:
    settings = msgspec.structs.replace(SETTINGS, warm_up_s=60.0)
    with pytest.raises(NothingScored, match="none of 1 requests arrived after the warm-up of 60 s"):
        make_report(settings, [an_outcome()], (), (), duration_s=10.0)


def test_an_overloaded_generator_says_so() -> None:
    late = [an_outcome(arrival_s=1.0, sent_s=1.06)] * 3 + [an_outcome()] * 97
    report = make_report(SETTINGS, late, (), (), 10.0, OwnLoad(lag_p99_s=0.06, lag_worst_s=0.2, processor_share=1.0))
    assert report.overloads == (
        "3 of 100 requests were sent more than 50 ms late",
        "the event loop was 60 ms late 1 % of the time, more than 50 ms",
    )


def test_an_emulated_engine_whose_steps_ended_late_makes_the_run_invalid() -> None:
    report = on_emulated_engines(late_steps=60)
    assert report.overloads == ("emulated engine h100: 60 of 1,060 steps (5.7%) ended more than 1 ms late, 1% may",)
    assert exit_status([report]) == INVALID
    assert "INVALID: the machine was overloaded: emulated engine h100: 60 of 1,060 steps" in shown(report)


def test_emulated_engines_that_kept_up_are_named_and_no_more() -> None:
    report = on_emulated_engines(late_steps=5)
    assert (report.emulated_engines, report.lateness[0].steps) == (("h100",), 1_005)
    assert exit_status([report]) == 0
    assert "EMULATED: h100 took the time of profiled GPUs and computed nothing" in shown(report)
    assert "Latency, ms, EMULATED engines" in shown(report)
    assert msgspec.json.decode(msgspec.json.encode(report))["emulated_engines"] == ["h100"]


def test_an_emulated_engine_that_died_during_the_run_is_named_too() -> None:
    report = make_report(SETTINGS, [an_outcome()], (), (), 10.0, engines_before=(emulated_engine(0),))
    assert report.emulated_engines == ("h100",)


def test_a_generator_that_kept_up_is_not_overloaded() -> None:
    late = [an_outcome(arrival_s=1.0, sent_s=1.06)] * 2 + [an_outcome()] * 98
    report = make_report(SETTINGS, late, (), (), 10.0, OwnLoad(lag_p99_s=0.01, lag_worst_s=0.2, processor_share=0.5))
    assert report.overloads == ()
    assert report.late_sends == 2
