"""The ablation: its systems can be run, its loads are as told, and the page says what was reached and what not."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from loadgen.experiments import ablation
from loadgen.experiments.ablation_criteria import claims, rival
from loadgen.experiments.ablation_loads import (
    BOTH,
    BUDGETS,
    CAPACITY,
    CONTENDERS,
    ENGINE_ONLY,
    FAR_OVER,
    LAYERS,
    LINES,
    NEITHER,
    OVER,
    PUBLISHED,
    ROUTER_ONLY,
    WORKLOADS,
    Line,
    at_capacity,
    ended_in_time,
    struggling,
)
from loadgen.experiments.ablation_page import page
from loadgen.experiments.comparison import Extent, Load
from loadgen.experiments.systems import System, found_of
from loadgen.experiments.tables import PLAIN, RELEGATING
from loadgen.simulate.rows import E2E_THRESHOLDS_S, Row, SeedFigures
from services.lens.planners import planner_named
from services.prism.policies import policy_named
from shared.slo import Slo
from tests.unit.loadgen.experiments.rows import row

NOWHERE = Load(Path("nowhere"), 10.0)
ATTAINED = {BOTH: (0.94, 0.90), ROUTER_ONLY: (0.55, 0.55), ENGINE_ONLY: (0.8, 0.8), NEITHER: (0.40, 0.36)}
CONVERSATION, MIXED = WORKLOADS[0], WORKLOADS[-1]


def rows_at(line: Line, attained: Mapping[System, tuple[float, float]], e2e_s: float = 5.0) -> list[Row]:
    """Of two seeds; who ends in time does so within any threshold."""
    return [
        msgspec.structs.replace(
            row(planner, policy, sum(values) / 2),
            workload=line.name,
            rate=line.rate_per_s,
            e2e_p50_s=e2e_s,
            of_seeds=tuple(
                SeedFigures(
                    attainment=value,
                    e2e_attainment={f"{threshold_s:g}": value for threshold_s in E2E_THRESHOLDS_S},
                    e2e_p50_s=e2e_s / 4 if (planner, policy) == BOTH else e2e_s,
                    kept_tokens_per_s=1.0,
                )
                for value in values
            ),
        )
        for (planner, policy), values in attained.items()
    ]


def beside_rivals(line: Line, plain: float, relegating: float, ours: float = 0.92) -> list[Row]:
    """The first of each kind is the better one."""
    workload = next(workload for workload in WORKLOADS if workload.name == line.name)
    of_kinds = {PLAIN: plain, RELEGATING: relegating}
    rivals = {
        system: (value - place / 100,) * 2
        for kind, value in of_kinds.items()
        for place, system in enumerate(workload.rivals[kind])
    }
    return rows_at(line, {**ATTAINED, **rivals, BOTH: (ours, ours)})


def test_every_system_can_be_run_and_no_cell_is_there_twice():
    planned = ablation.cells(NOWHERE, Extent.FULL)
    for cell in planned:
        planner_named(cell.scenario.planner)
        policy_named(cell.scenario.policy)
        assert len(cell.scenario.engines) == 8
    keys = [(cell.workload, cell.rate, cell.scenario.planner, cell.scenario.policy) for cell in planned]
    assert len(set(keys)) == len(keys)
    assert {key[:2] for key in keys} == {line.key for line in LINES}
    assert {cell.workload for cell in ablation.cells(NOWHERE, Extent.SMOKE)} < {cell.workload for cell in planned}


def test_published_times_are_among_those_that_rows_tell():
    assert {published.threshold_s for published in PUBLISHED} < set(E2E_THRESHOLDS_S)
    assert {published.asks for published in PUBLISHED} <= {workload.name for workload in WORKLOADS}
    assert all(list(published.published) == list(LAYERS) for published in PUBLISHED)


def test_where_it_is_scored_by_published_times_these_are_promised_and_nothing_else(tmp_path):
    (tmp_path / "AzureLLMInferenceTrace_code.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,3000,44\n"
    )
    coding = next(published for published in PUBLISHED if published.asks == "code")
    planned = ablation.cells(NOWHERE._replace(traces=tmp_path), Extent.SMOKE)
    [drawn] = [cell.draw(0) for cell in planned if cell.workload == coding.name and cell.scenario.policy == "synergy"][
        :1
    ]
    assert {request.slo for request in drawn} == {Slo(name="code", e2e_s=coding.threshold_s)}
    joint = next(cell.draw(0) for cell in planned if cell.workload == "code")
    assert {request.slo for request in joint} == {Slo(name="code", ttft_s=2.0, tpot_s=0.05)}


def test_all_rates_can_be_looked_for():
    searches = ablation.searches(NOWHERE)
    assert len(searches) == 3 * len(WORKLOADS) + len(PUBLISHED)
    cells = searches["code: capacity"].cells(30.0)
    assert {cell.rate for cell in cells} == {30.0}
    assert len(cells) == len(BUDGETS) * len(CONTENDERS)
    (neither,) = searches["chat T: neither"].cells(40.0)
    assert (neither.workload, neither.scenario.planner) == ("conversation", "static-2048")
    worth = searches["chat T: neither"].worth
    assert worth(msgspec.structs.replace(row("a", "b", 0.9), e2e_attainment={"16": 0.3})) == 0.3


def test_both_layers_are_compared_with_neither_run_by_run_in_both_scores():
    joint, in_time, *_ = claims(
        [*rows_at(struggling(CONVERSATION), ATTAINED), *rows_at(ended_in_time(PUBLISHED[1]), ATTAINED)]
    )
    assert joint.found == "+54.0 ± 0.0 points (conversation +54.0)"
    assert joint.verdict == "met"
    assert in_time.found == "+54.0 ± 0.0 points (chat Q +54.0)"
    assert "E2E within the published time" in in_time.wanted


def test_the_better_rival_is_chosen_after_the_fact():
    line = at_capacity(CONVERSATION, OVER)
    of_load = found_of(beside_rivals(line, 0.5, 0.95))[line.key]
    assert rival(of_load, CONVERSATION, PLAIN) == CONVERSATION.rivals[PLAIN][0]


def test_where_both_layers_are_behind_is_told():
    over = at_capacity(CONVERSATION, OVER)
    rows = beside_rivals(over, 0.5, 0.95) + beside_rivals(at_capacity(MIXED, OVER), 0.7, 0.8)
    plain, never, on_mixed = claims(rows)
    assert plain.found == "+32.0 ± 0.0 points (conversation +42.0, mixed +22.0)"
    assert plain.verdict == "met"
    assert never.found == "-3.0 ± 0.0 points (conversation at 1.2 -3.0, mixed at 1.2 +12.0)"
    assert never.verdict == "missed by 3.0 points"
    assert on_mixed.verdict == "missed by 3.0 points"


def test_goodput_is_told_in_capacities_and_time_in_that_of_neither():
    rows = [
        *beside_rivals(at_capacity(CONVERSATION, CAPACITY), 0.9, 0.95, ours=1.0),
        *beside_rivals(at_capacity(CONVERSATION, OVER), 0.5, 0.7, ours=0.95),
        *rows_at(at_capacity(CONVERSATION, FAR_OVER), {BOTH: (0.85, 0.85)}),
    ]
    *_, goodput, never, e2e = claims(rows)
    assert goodput.found == "1.30 ± 0.00× (conversation 1.30×)"
    assert goodput.verdict == "met"
    assert never.verdict == "met"
    assert e2e.found == "0.25 ± 0.00× (conversation 0.25×)"
    assert e2e.verdict == "met"


def test_the_page_shows_systems_beside_each_other_and_what_was_published():
    over, low, chat = at_capacity(CONVERSATION, OVER), struggling(CONVERSATION), ended_in_time(PUBLISHED[1])
    document = page([*beside_rivals(over, 0.5, 0.95), *rows_at(low, ATTAINED), *rows_at(chat, ATTAINED)], 40.0)
    text = document.text
    assert "| requests/s | both | router only | engine only | neither | tuned | tuned, relegating |\n" in text
    assert f"| conversation {low.rate_per_s:g} | 92 ± 25 | 55 ± 0 | 80 ± 0 | 38 ± 25 | – | – |\n" in text
    assert (
        f"| conversation {over.rate_per_s:g}, 1.2 × capacity | 92 ± 0 | 55 ± 0 | 80 ± 0 | 38 ± 25 | 50 ± 0 | 95 ± 0 |\n"
        in text
    )
    assert f"| chat Q (conversation) {chat.rate_per_s:g}, 10 s | 92 ± 25 (96.3) |" in text
    budget = CONVERSATION.rivals[RELEGATING][0]
    assert f"| 5.0 (r{budget.planner.split('-')[1]}, {budget.policy}) |\n" in text
    assert "for 40 s" in text
    assert "seeds 0 to 1" in text
    assert document.figure.startswith("<svg")
    assert ">chat Q</text>" in document.figure


@pytest.mark.parametrize("extent", list(Extent))
def test_every_extent_says_for_how_long_requests_arrive(extent):
    assert ablation.EXPERIMENT.arriving_s[extent] > 0
