"""The experiments on four unequal engines: their loads are as told, and their pages say where foresight is behind."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from loadgen.experiments import heterogeneous, heterogeneous_page, long_context, long_context_page, mixed, mixed_page
from loadgen.experiments.comparison import Comparison, Extent, Load
from loadgen.experiments.fleet_loads import (
    CODE,
    CONVERSATION,
    HETEROGENEOUS_LINES,
    LONG,
    LONG_BOTH,
    LONG_LINES,
    LONG_SYSTEMS,
    MIXED_LINES,
    PLAIN_BUDGETS,
    RELEGATING_BUDGETS,
    THREE_CLASSES,
)
from loadgen.experiments.fluid import Asked, Bound, Bounds, Kind
from loadgen.experiments.prism_loads import CAPACITY, LIGHT, OVER, Line
from loadgen.experiments.systems import System, found_of
from loadgen.experiments.tables import short
from loadgen.simulate.rows import Row, SeedFigures
from loadgen.simulate.run import ORACLE
from services.lens.planners import planner_named
from services.prism.policies import POLICIES
from tests.unit.loadgen.experiments.rows import row

NOWHERE = Load(Path("nowhere"), 10.0)
ATTAINED = {"round-robin": 0.4, "least-tokens": 0.9, "synergy": 0.96, ORACLE: 0.97}
ASKED = Asked(5000.0, 220.0, 221.0, 1.3e7, 5100.0, 0.1, [Kind(1.0, 5000.0, 220.0)])
BOUNDS = Bounds(Bound(10.0, 50_000.0), Bound(12.5, 62_500.0))


def rows_at(
    line: Line, attained: Mapping[System, float], tokens_per_s: Mapping[System, float] | None = None
) -> list[Row]:
    return [
        msgspec.structs.replace(
            row(system.planner, system.policy, value),
            workload=line.name,
            rate=line.rate_per_s,
            of_seeds=(
                SeedFigures(
                    attainment=value,
                    e2e_attainment={},
                    e2e_p50_s=None,
                    kept_tokens_per_s=(tokens_per_s or {}).get(system, 0.0),
                ),
            )
            * 2,
        )
        for system, value in attained.items()
    ]


def above(planner: str, attained: Mapping[str, float] = ATTAINED) -> dict[System, float]:
    return {System(planner, policy): value for policy, value in attained.items()}


def keys_of(experiment: Comparison, extent: Extent) -> Sequence[tuple[str, float, str, str]]:
    cells = experiment.cells(NOWHERE, extent)
    for cell in cells:
        planner_named(cell.scenario.planner)
        assert cell.scenario.policy in (*POLICIES, ORACLE)
    return [(cell.workload, cell.rate, cell.scenario.planner, cell.scenario.policy) for cell in cells]


def test_every_cell_can_be_run_and_none_is_there_twice():
    for experiment, lines in (
        (heterogeneous.EXPERIMENT, HETEROGENEOUS_LINES),
        (long_context.EXPERIMENT, LONG_LINES),
        (mixed.EXPERIMENT, MIXED_LINES),
    ):
        planned = keys_of(experiment, Extent.FULL)
        assert len(set(planned)) == len(planned)
        assert {key[:2] for key in planned} == {line.key for line in lines}
        assert set(keys_of(experiment, Extent.SMOKE)) < set(planned)


def test_all_capacities_can_be_looked_for():
    for experiment in (heterogeneous.EXPERIMENT, long_context.EXPERIMENT, mixed.EXPERIMENT):
        for search in experiment.searches(NOWHERE).values():
            assert {cell.rate for cell in search.cells(12.0)} == {12.0}


def test_on_unequal_engines_the_rival_is_the_best_policy_that_reacts():
    behind = {**ATTAINED, "least-tokens": 0.98}
    rows = [
        *rows_at(Line(CONVERSATION, CAPACITY), above("synergy", behind)),
        *rows_at(Line(CONVERSATION, OVER), above("synergy")),
        *rows_at(Line(CODE, OVER), above("synergy", {**ATTAINED, "least-tokens": 0.76})),
    ]
    never, published, oracle = heterogeneous_page.claims(rows)
    assert never.found.startswith(
        "-2.0 ± 0.0 points (conversation at 1 -2.0, conversation at 1.2 +6.0, code at 1.2 +20.0)"
    )
    assert never.verdict == "missed by 2.0 points"
    assert published.found == "+13.0 ± 0.0 points (conversation +6.0, code +20.0)"
    assert published.verdict == "met"
    assert oracle.verdict == "met"
    document = heterogeneous_page.page(rows, 60.0)
    assert "| requests/s | round-robin | least-tokens | synergy | oracle |\n" in document.text
    assert "for 60 s" in document.text
    assert "+10.1 points on average" in document.text
    assert ">conversation</text>" in document.figure


def test_throughput_is_compared_at_equal_attainment_and_with_the_bound():
    # Ours attains 90 % halfway between the two rates, all others at the first.
    over = {**dict.fromkeys(LONG_SYSTEMS, 0.6), LONG_BOTH: 0.8}
    at_light = {**dict.fromkeys(LONG_SYSTEMS, 0.9), LONG_BOTH: 1.0}
    rows = [
        *rows_at(Line(LONG, CAPACITY), at_light, dict.fromkeys(LONG_SYSTEMS, 20_000.0)),
        *rows_at(Line(LONG, OVER), over, {**dict.fromkeys(LONG_SYSTEMS, 10_000.0), LONG_BOTH: 60_000.0}),
    ]
    of_bound, of_moving, published, budget, reactive = long_context_page.claims(found_of(rows), BOUNDS)
    assert of_bound.found == "80.0 ± 0.0 %"
    assert of_bound.verdict == "missed by 10.0 %"
    assert of_moving.found == "64.0 ± 0.0 %"
    assert published.found == "2.00 ± 0.00×"
    assert published.verdict == "missed by 1.00×"
    assert (budget.verdict, reactive.verdict) == ("met", "met")
    document = long_context_page.page(rows, ASKED, BOUNDS, 180.0)
    assert "**10.00 requests/s, 50,000 tokens/s**" in document.text
    assert "would be\n12.50 requests/s, 62,500 tokens/s" in document.text
    assert "a prompt has\n5,000 tokens, an answer 221" in document.text
    assert "| synergy, synergy | 100 ± 0 | 20.0 ± 0.0 | 1.00 |" in document.text
    assert ">fluid bound</text>" in document.figure


def test_foresight_is_compared_above_each_kind_of_planner():
    best, worse = RELEGATING_BUDGETS
    over = {
        **above("synergy"),
        **above(PLAIN_BUDGETS[0], {"least-tokens": 0.5, "synergy": 0.6}),
        **above(PLAIN_BUDGETS[1], {"least-tokens": 0.55, "synergy": 0.5}),
        **above(best, {"least-tokens": 0.84, "synergy": 0.7}),
        **above(worse, {"least-tokens": 0.3, "synergy": 0.3}),
    }
    rows = rows_at(Line(THREE_CLASSES, LIGHT), over) + rows_at(Line(THREE_CLASSES, OVER), over)
    lens, plain, relegating, never, mixed_classes, static = mixed_page.claims(rows)
    assert lens.found == "+6.0 ± 0.0 points (at 0.75 +6.0, at 1.2 +6.0)"
    assert plain.found.startswith("+5.0")
    assert relegating.verdict == "missed by 14.0 points"
    assert never.verdict == "met"
    assert mixed_classes.verdict == "missed by 3.0 points"
    assert static.found == "+41.0 ± 0.0 points"
    document = mixed_page.page(rows, 60.0)
    assert f"## Above a relegating budget, {short(best)}\n" in document.text
    assert ">above lens</text>" in document.figure
