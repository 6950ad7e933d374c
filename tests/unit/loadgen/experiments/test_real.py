"""The experiment with real processes: who takes turns at what, what a run amounts to, and the page that tells it."""

from collections.abc import Sequence

import msgspec
import pytest

from loadgen.experiments.live_loads import FLEET
from loadgen.experiments.real import _kept, _parser, _plan
from loadgen.experiments.real_criteria import claims
from loadgen.experiments.real_page import ORDER, figure, page
from loadgen.experiments.real_parts import BOTH, CAPACITY, NEITHER, OVER, PARTS, REACTIVE
from loadgen.experiments.real_rows import RealRow, e2e_ratio, paired, points_ahead, real_row, runs_of
from loadgen.experiments.real_runs import Plan, turns
from loadgen.reliability import reliability
from loadgen.report import make_report
from loadgen.simulate.experiment import write_rows
from services.engine.profile import load_profile
from services.lens.planners import planner_named
from services.prism.policies import policy_named
from tests.unit.loadgen.outcomes import an_outcome

PART = PARTS[0]
ATTAINED = dict(zip(ORDER, (0.9, 0.6, 0.7, 0.4, 0.8), strict=True))
PLAN = Plan(range(2), (CAPACITY, OVER), repeats=True)


def row(layers: str = BOTH, **changed: object) -> RealRow:
    fields = {
        "system": PART.name,
        "emulated": True,
        "planner": "synergy",
        "times_capacity": CAPACITY,
        "rate_per_s": 10.0,
        "seed": 0,
        "offered": 80,
        "attainment": ATTAINED[layers],
        "goodput_per_s": 8.0,
        "failed": 0,
        "ttft_p50_s": 0.25,
        "ttft_p99_s": 1.0,
        "tpot_p50_s": 0.03,
        "tpot_p99_s": 0.04,
        "probe_s": None,
        "late_share": 0.004,
        "overloads": (),
        "layers": layers,
        "policy": "synergy",
        "again": False,
        "refused": 0.05,
        "e2e_p50_s": 2.0,
        "ttft_error_p50": 0.2 if layers == BOTH else None,
        "tpot_error_p50": 0.1 if layers == BOTH else None,
        "reliability": reliability([(0.95, True), (0.95, True), (0.15, False)]) if layers == BOTH else None,
        "generator_share": 0.1,
    }
    return RealRow(**{**fields, **changed})  # type: ignore[arg-type]


def rows_of(seeds: Sequence[int], **changed: object) -> list[RealRow]:
    """Of all systems; from seed to seed all attain a tenth more."""
    return [
        row(layers, seed=seed, attainment=attained + 0.1 * seed, **changed)
        for seed in seeds
        for layers, attained in ATTAINED.items()
    ]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_system_can_be_run_and_each_layer_is_left_out_once(part):
    for system in part.systems:
        planner_named(system.planner)
        policy_named(system.policy)
    for profile in part.profiles:
        load_profile(profile)
    assert tuple(system.name for system in part.systems) == ORDER
    both, router_only, engine_only, neither, reactive = part.systems
    assert {both.planner, engine_only.planner, reactive.planner} == {"synergy"}
    assert {both.policy, router_only.policy} == {"synergy"}
    assert router_only.planner == neither.planner == part.fixed
    assert engine_only.policy == neither.policy
    assert list(part.rates_per_s) == sorted(part.rates_per_s)


def test_emulated_engines_are_unequal():
    assert len(set(PART.profiles)) == len(PART.profiles) >= 3


def test_all_systems_have_their_turns_at_a_load_before_the_next_load_begins():
    planned = turns(PART.systems, PLAN)
    of_each = len(PART.systems) + 1
    assert len(planned) == 2 * 2 * of_each
    for place in range(0, len(planned), of_each):
        block = planned[place : place + of_each]
        assert len({(turn.seed, turn.times_capacity) for turn in block}) == 1
        assert {turn.system for turn in block[:-1]} == set(PART.systems)
        assert block[-1] == block[0]._replace(again=True)


def test_the_order_is_one_of_chance_and_the_same_for_who_goes_on():
    planned = turns(PART.systems, PLAN)
    assert planned == turns(PART.systems, PLAN)
    firsts = {turn.system.name for turn in turns(PART.systems, PLAN._replace(seeds=range(10))) if turn.again}
    assert len(firsts) > 1


def test_no_two_turns_are_one():
    keys = [turn.key_on(part) for part in PARTS for turn in turns(part.systems, PLAN)]
    assert len(keys) == len(set(keys))


def test_a_run_is_told_in_its_own_time_and_what_was_refused_has_not_failed():
    (request, *_) = FLEET.draw(1.0, seed=0)
    well = an_outcome(arrival_s=request.arrival_s, ttft_s=0.5, e2e_s=2.5, p_met=0.9)
    refused = an_outcome(status=429, error="429: no", ttft_s=None, e2e_s=None)
    broken = an_outcome(error="it broke")
    settings = FLEET.settings("", "", 1.0, 0, (request, request, request))
    report = make_report(settings, [well, refused, broken], (), (), 4.0)
    found = real_row("emulated", PART.systems[0], CAPACITY, report, None, again=False)
    assert (found.offered, found.failed) == (3, 1)
    assert found.refused == pytest.approx(1 / 3)
    assert found.e2e_p50_s == pytest.approx(2.5 / FLEET.time_scale)
    assert found.ttft_error_p50 == pytest.approx(0.2)
    assert found.reliability is not None
    assert (found.layers, found.simulated) == (BOTH, False)


def test_a_row_says_in_its_file_that_nothing_was_simulated(tmp_path):
    write_rows([row()], tmp_path / "rows.jsonl")
    assert b'"simulated":false' in (tmp_path / "rows.jsonl").read_bytes()


def test_runs_of_the_same_requests_are_compared():
    ours = [row(seed=seed, attainment=attained) for seed, attained in enumerate((0.5, 0.9, 0.7))]
    theirs = [row(NEITHER, seed=seed, attainment=attained) for seed, attained in enumerate((0.4, 0.8))]
    ahead = paired(ours, theirs, points_ahead)
    assert ahead is not None
    assert (ahead.mean, ahead.ci95) == pytest.approx((10.0, 0.0))
    assert ahead.count == 2
    assert paired(ours, [], points_ahead) is None
    assert e2e_ratio(row(e2e_p50_s=1.0), row(e2e_p50_s=2.0)) == 0.5
    assert e2e_ratio(row(e2e_p50_s=None), row()) is None


def test_what_is_asked_again_counts_for_no_mean():
    assert runs_of([row(), row(again=True)], BOTH, CAPACITY) == [row()]


def verdicts(rows: Sequence[RealRow]) -> list[str]:
    return [claim.verdict for claim in claims(rows)]


def test_goals_are_met_or_not_and_by_how_much_is_said():
    gain, reactive, ratio, telling = claims(rows_of((0,)))
    assert gain.wanted.endswith("where neither has 30 to 50 %; emulated, 1 × capacity")
    assert gain.found == "+50.0 points"
    assert reactive.found == "+10.0 points"
    assert ratio.verdict == "missed by 0.50×"
    assert [gain.verdict, reactive.verdict, telling.verdict] == ["met"] * 3
    behind = [r if r.layers != REACTIVE else msgspec.structs.replace(r, attainment=0.92) for r in rows_of((0,))]
    assert verdicts(behind)[1] == "missed by 2.0 points"


def test_an_interval_is_told_where_there_are_repeats():
    assert claims(rows_of((0, 1)))[1].found == "+10.0 ± 0.0 points"


def test_a_goal_that_no_load_can_test_says_so():
    rows = [row(), row(NEITHER, attainment=0.8), row(REACTIVE)]
    assert claims(rows)[0].found == "neither has 80 % (emulated, 1 × capacity)"
    assert verdicts(rows)[0] == "not tested"


def test_the_page_says_what_is_emulated_what_is_real_and_that_all_share_two_cores():
    text = page(rows_of((0, 1)), PARTS, "real.svg")
    assert text.startswith("# Both layers on one machine, with real processes\n")
    assert "**Not simulated**" in text
    assert "**Emulated** are, in the first part" in text
    assert "**All of it shares two cores**" in text
    assert "took 0.10 of a core" in text
    assert "(real.svg)" in text
    assert "over 1 ms late: 0.4% on average" in text
    assert "## A real model" not in text


def test_the_page_shows_a_load_a_line():
    text = page([*rows_of((0, 1)), *rows_of((0, 1), times_capacity=OVER, rate_per_s=12.0)], PARTS, "real.svg")
    assert f"| requests/s | {' | '.join(ORDER)} |" in text
    assert "| 10, 1 × capacity | **95** ± 64 | 65 ± 64 | 75 ± 64 | 45 ± 64 | 85 ± 64 |" in text
    assert "| 12, 1.2 × capacity | +30 ± 0 | +20 ± 0 | +50 ± 0 | +10 ± 0 |" in text
    assert "| 10, 1 × capacity | both layers | 8.00 | 5.0 | 0.25 | 1.00 | 30 | 40 | 2.00 |" in text
    assert "| 10, 1 × capacity | both layers | 20 | 10 | 0.009 | 0.222 |" in text
    assert "| 90 to 100 | 8 | 95.0 | 100.0 |" in text


def test_the_page_says_how_far_repeats_are_apart():
    again = row(again=True, attainment=0.85, ttft_p50_s=0.3)
    text = page([*rows_of((0, 1)), again], PARTS, "real.svg")
    assert "standard deviation of 7.1 points on average, 7.1 at worst" in text
    assert "again some minutes later (1 times), attained 5.0 points more or less on average, 5.0 at most" in text
    assert "1.20 to 1.20 times what it was" in text


def test_of_one_repeat_the_page_claims_no_knowledge_of_others():
    assert "There is one repeat: nothing is known" in page(rows_of((0,)), PARTS, "real.svg")


def test_the_figure_has_a_panel_a_part_and_every_system():
    real = [msgspec.structs.replace(each, system=PARTS[1].name, emulated=False) for each in rows_of((0,))]
    drawing = figure([*rows_of((0,)), *real], PARTS)
    for text in (*ORDER, *(part.name for part in PARTS), "10, 1 × capacity"):
        assert f">{text}</text>" in drawing


def test_going_on_keeps_what_is_known_of_the_plans_seeds(tmp_path):
    path = tmp_path / "rows.jsonl"
    other = row(system=PARTS[1].name)
    write_rows([row(), row(seed=7), other], path)
    assert _kept(path, PARTS, PLAN.seeds, resume=True) == [row(), other]
    assert _kept(path, PARTS[:1], PLAN.seeds, resume=False) == [other]
    assert _kept(path, PARTS, PLAN.seeds, resume=False) == []


def test_only_the_whole_experiment_asks_again():
    assert not _plan(_parser().parse_args([])).repeats
    full = _plan(_parser().parse_args(["--full"]))
    assert full.repeats
    assert len(full.seeds) == 5
    assert len(_plan(_parser().parse_args(["--full", "--seeds", "8"])).seeds) == 8
