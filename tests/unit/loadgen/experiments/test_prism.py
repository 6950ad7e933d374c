"""The prism experiment: its loads are as told, every policy can be run, and the page says where prism falls short."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from loadgen.experiments import prism, rates
from loadgen.experiments.prism_criteria import claims
from loadgen.experiments.prism_loads import (
    CAPACITY,
    ENGINES,
    HARD,
    HARD_LINES,
    LATE_S,
    LIGHT,
    LINES,
    MIXED,
    OVER,
    REGRETTED,
    SEVERAL,
    SEVERAL_LINES,
    SMOKED,
    Line,
)
from loadgen.experiments.prism_page import page
from loadgen.experiments.prism_regret import Regret, SeedRegret, regret_of
from loadgen.reliability import reliability
from loadgen.simulate.experiment import Cell
from loadgen.simulate.fleet import Slow
from loadgen.simulate.hindsight import Hindsight, Retold
from loadgen.simulate.rows import Row
from loadgen.simulate.run import ORACLE
from loadgen.student import Estimate
from services.prism.policies import POLICIES
from tests.unit.loadgen.experiments.rows import row

ATTAINED = {"round-robin": 0.40, "least-tokens": 0.90, "synergy": 0.96, ORACLE: 0.99}
AT_CAPACITY = Line(HARD, CAPACITY)


def rows_at(line: Line, attained: Mapping[str, float] = ATTAINED, **changes: object) -> list[Row]:
    workload, rate = line.key
    return [
        msgspec.structs.replace(row("synergy", policy, value), workload=workload, rate=rate, **changes)
        for policy, value in attained.items()
    ]


saved, lost = partial(Retold, own=True), partial(Retold, own=False)


def a_cell(line: Line = AT_CAPACITY, policy: str = "synergy") -> Cell:
    return prism.cell(line, policy, Path("nowhere"), 20.0)


def test_every_policy_of_the_services_is_compared_and_none_twice():
    planned = [a_cell(line, policy) for line in LINES for policy in prism.policies(line)]
    assert len({(cell.workload, cell.rate, cell.scenario.policy) for cell in planned}) == len(planned)
    assert set(prism.policies(AT_CAPACITY)) == {*POLICIES, ORACLE}
    assert set(prism.CONTENDERS) < set(prism.REACTIVE)


def test_what_is_smoked_or_regretted_is_part_of_the_whole():
    assert {line.key for line in (*SMOKED, *REGRETTED)} <= {line.key for line in LINES}
    assert len({line.key for line in LINES}) == len(LINES)


def test_several_routers_face_what_one_does():
    for line in SEVERAL_LINES:
        one = line._replace(replicas=1)
        assert one in LINES
        assert (one.part, one.rate_per_s) == (line.part, line.rate_per_s)
        assert a_cell(line).scenario == msgspec.structs.replace(a_cell(one).scenario, replicas=SEVERAL)


def test_in_the_hard_case_telemetry_is_late_and_the_fastest_engine_slows_in_mid_run():
    for line in HARD_LINES:
        scenario = a_cell(line).scenario
        assert scenario.incidents == (Slow(10.0, "h100", 1.5),)
        assert scenario.delay_s == LATE_S
        assert scenario.engines == ENGINES
    assert not a_cell(Line(MIXED, OVER)).scenario.incidents


def test_being_behind_the_best_that_reacts_is_told_and_by_how_much():
    behind = {**ATTAINED, "least-tokens": 0.98}
    rows = [*rows_at(Line(HARD, LIGHT)), *rows_at(Line(HARD, OVER), behind), *rows_at(Line(MIXED, CAPACITY))]
    hard, easy = claims(rows)
    over = Line(HARD, OVER).rate_per_s
    assert hard.verdict == f"missed by 1.0 (hard {over:g})"
    assert hard.found.startswith(f"from -2.0 over least-tokens, which leaves 2.0 (hard {over:g}) to +6.0 ")
    assert easy.verdict == "met"


@pytest.mark.parametrize(("ours", "verdict"), [(0.95, "met"), (0.94, "missed by 1.0 (hard {:g})")])
def test_half_of_the_misses_at_capacity_are_too_many(ours, verdict):
    _, misses = claims(rows_at(AT_CAPACITY, {**ATTAINED, "synergy": ours}))
    assert misses.verdict == verdict.format(AT_CAPACITY.rate_per_s)
    assert misses.found == f"{100 * (1 - ours):.1f} % against 10.0 % of least-tokens (hard {AT_CAPACITY.rate_per_s:g})"


def test_several_routers_are_compared_with_one():
    several = Line(MIXED, OVER, SEVERAL)
    rows = [*rows_at(several, {**ATTAINED, "synergy": 0.93}), *rows_at(several._replace(replicas=1))]
    *_, criterion = claims(rows)
    assert criterion.found == f"-3.0 over one router, which leaves 4.0 ({several.name} {several.rate_per_s:g})"
    assert criterion.verdict.startswith("missed by 2.0")


@pytest.mark.parametrize(("chances", "verdict"), [((0.9, 0.8, 0.2), "met"), ((0.2, 0.2, 0.9), "missed (hard {:g})")])
def test_a_chance_is_to_say_more_than_the_share_that_is_kept(chances, verdict):
    given = reliability(zip(chances, (True, True, False), strict=True))
    *_, telling = claims(rows_at(AT_CAPACITY, reliability=given))
    assert telling.verdict == verdict.format(AT_CAPACITY.rate_per_s)
    assert "against 0.222" in telling.found


def test_the_page_has_every_load_and_figure():
    given = reliability([(0.95, True), (0.93, False), (0.1, False)])
    several = Line(MIXED, OVER, SEVERAL)
    rows = [
        *rows_at(several._replace(replicas=1), refused=0.02),
        *rows_at(several, {"least-tokens": 0.8, "synergy": 0.9}),
        *rows_at(AT_CAPACITY, ttft_error_p50=0.42, tpot_error_p50=0.125, reliability=given, goodput=12.34),
    ]
    name, rate = AT_CAPACITY.key
    missed, regret, luck, beyond = (Estimate(value, 0.01, 3) for value in (0.04, 0.03, 0.01, 0.02))
    found = Regret(
        workload=name, rate=rate, policy="synergy", seeds=(0, 1), asked=12,
        missed=missed, regret=regret, luck=luck, own_regret=regret, own_luck=luck, beyond_luck=beyond,
    )  # fmt: skip
    text = page(rows, [found], 20.0)
    assert "| requests/s | round-robin | least-tokens | synergy | oracle |\n" in text
    assert f"| {name} {rate:g} | 40 ± 5 | 90 ± 5 | 96 ± 5 | **99** ± 5 |\n" in text
    assert f"| {several.name} {several.rate_per_s:g} | 80 ± 5 | **90** ± 5 |\n" in text
    assert f"| mixed {several.rate_per_s:g} | 90 ± 5 | **96** ± 5 |\n" in text
    assert f"| {name} {rate:g} | synergy | 96 | 12.34 | 0.0 | – | – | – | – |\n|  | least-tokens | 90 |" in text
    assert f"| {name} {rate:g} | 4.0 ± 1.0 | 3.0 ± 1.0 | 1.0 ± 1.0 | 3.0 ± 1.0 | 1.0 ± 1.0 | 2.0 ± 1.0 |\n" in text
    assert f"| {name} {rate:g} | synergy | 42 | 12 | 0.292 |\n" in text
    assert "| 90 to 100 | 2 | 94.0 | 50.0 |\n" in text
    assert "Refused, %" in text
    assert "seeds 0 to 1" in text
    assert "for 20 s" in text


def test_nothing_is_said_of_chances_that_nobody_gave():
    assert "Of the requests that were given about such a chance" not in page(rows_at(AT_CAPACITY), (), 20.0)


def test_regret_is_told_a_request_offered_and_what_chance_alone_does_is_taken_off():
    asked = [Hindsight(kept=90, elsewhere={"a100": saved(92), "h100": lost(89)}, again=[lost(91), lost(90)])]
    lucky = [Hindsight(kept=95, elsewhere={"a100": lost(95), "h100": lost(94)}, again=[saved(96), lost(95)]), *asked]
    of_seeds = [
        SeedRegret(seed=0, offered=100, missed=10, asked=asked),
        SeedRegret(seed=1, offered=100, missed=5, asked=lucky),
        SeedRegret(seed=2, offered=100, missed=0, asked=()),
    ]
    found = regret_of(a_cell(), of_seeds)
    assert found.asked == 3
    assert found.missed.mean == pytest.approx(0.05)
    assert found.regret.mean == pytest.approx((2 * 0.1 + 1 * 0.05 + 0) / 3)
    assert found.luck.mean == pytest.approx((1 * 0.1 + 1 * 0.05 + 0) / 3)
    assert found.beyond_luck.mean == pytest.approx(0.1 / 3)
    assert found.own_regret.mean == pytest.approx((1 * 0.1 + 0.5 * 0.05 + 0) / 3)
    assert found.own_luck.mean == pytest.approx((0 + 0.5 * 0.05 + 0) / 3)


def test_the_capacity_is_the_highest_rate_at_which_the_best_policy_that_reacts_attains_its_share(monkeypatch):
    tried: list[set[str]] = []

    def attains(cells, _seeds, _console):
        tried.append({cell.scenario.policy for cell in cells})
        worth = {policy: place / 1000 for place, policy in enumerate(prism.REACTIVE)}
        return [
            row("synergy", cell.scenario.policy, worth[cell.scenario.policy] + (0.9 if cell.rate <= 16.0 else 0.5))
            for cell in cells
        ]

    monkeypatch.setattr(rates, "run_cells", attains)
    search = prism.capacity_search(HARD._replace(capacity_per_s=14.0), Path("nowhere"), 1.0)
    found = rates.find_rate("hard", search, (100,), Console(quiet=True))
    assert found.rate_per_s is not None
    assert 16.0 / (1 + rates.TOLERANCE) <= found.rate_per_s <= 16.0
    assert tried[0] == set(prism.REACTIVE)
    assert all(of_rate == set(prism.REACTIVE[-rates.GO_ON :]) for of_rate in tried[1:])


def test_where_all_attain_the_same_nobody_is_bold():
    text = page(rows_at(AT_CAPACITY, dict.fromkeys(ATTAINED, 0.9)), (), 20.0)
    assert "| 90 ± 5 | 90 ± 5 | 90 ± 5 | 90 ± 5 |\n" in text
