"""Rows over seeds, and the fleet that a command line describes."""

import argparse

import msgspec
import pytest
from rich.console import Console

from loadgen.load import ImpossibleLoad
from loadgen.simulate.experiment import Cell, run_cells, write_rows
from loadgen.simulate.fleet import Die, Join, Slow
from loadgen.simulate.fleet_plan import Member, parse_die, parse_join, parse_member, parse_slow, planned_fleet
from loadgen.simulate.rows import row_of, score_run
from loadgen.simulate.run import simulate
from loadgen.workload import Request
from shared.slo import Slo
from tests.unit.loadgen.simulate.builders import hardware, request, scenario


def load_of(seed: int) -> tuple[Request, ...]:
    hopeless = Slo(ttft_s=0.001)
    return tuple(request(0.1 * n, slo=hopeless if n <= seed else None) for n in range(10))


def test_a_row_is_the_mean_over_its_seeds_with_its_interval():
    runs = [score_run(seed, simulate(scenario(), load_of(seed), seed)) for seed in (0, 1, 2)]
    row = row_of("toy", 10.0, "static-512", "round-robin", runs)
    assert (row.seeds, row.simulated) == ((0, 1, 2), True)
    assert row.attainment == pytest.approx(0.8)
    assert row.attainment_ci95 == pytest.approx(4.3027 * 0.1 / 3**0.5, rel=1e-4)
    assert row.e2e_attainment["1"] == 1.0
    assert row.refused == 0.0
    assert row.ttft_p50_s == pytest.approx(0.021)
    assert row.goodput == pytest.approx(8 / runs[0].duration_s)
    assert [run.attainment for run in row.of_seeds] == [run.total.attainment for run in runs]
    assert row.of_seeds[0].e2e_p50_s == pytest.approx(row.e2e_p50_s)


def test_throughput_is_of_what_ends_in_time_while_the_fleet_has_settled():
    answered = simulate(scenario(), [request(0.1 * n) for n in range(10)], 0)
    (tokens,) = {(outcome.prompt_tokens or 0) + (outcome.output_tokens or 0) for outcome in answered.outcomes}
    # Arrivals end at 0.9 s; from 0.3 s on those end that came at 0.3 to 0.8 s, and each takes less than 0.1 s.
    assert score_run(0, answered).kept_tokens_per_s == pytest.approx(6 * tokens / 0.6)
    late = simulate(scenario(), [request(0.1 * n, slo=Slo(ttft_s=0.001)) for n in range(10)], 0)
    assert score_run(0, late).kept_tokens_per_s == 0.0


def test_what_was_refused_counts_as_offered():
    tight = scenario(max_waiting=1, of=hardware(max_slots=1))
    run = score_run(0, simulate(tight, [request(0.001 * n) for n in range(4)], 0))
    assert (run.refused, run.total.offered, run.total.attainment) == (0.5, 4, 0.5)


def test_seeds_in_processes_make_the_row_that_they_make_in_one(tmp_path):
    cell = Cell(workload="toy", rate=10.0, draw=load_of, scenario=scenario())
    rows = run_cells([cell], (0, 1), Console(quiet=True))
    assert rows == [cell.row([score_run(seed, simulate(scenario(), load_of(seed), seed)) for seed in (0, 1)])]
    write_rows(rows, tmp_path / "rows.jsonl")
    write_rows(rows, tmp_path / "rows.jsonl", append=True)
    lines = (tmp_path / "rows.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["engine_policy"] for line in lines] == ["static-512"] * 2


def test_engines_are_named_by_profile_and_number():
    a100, h100 = "a100-llama3.1-8b", "h100-llama3.1-8b"
    plan = planned_fleet(
        [parse_member(f"{h100}:2"), Member(a100)],
        [parse_join(f"{h100}@30"), parse_slow(f"{h100}-2@20:1.8"), parse_die(f"{a100}-1@40")],
    )
    assert plan.engines == {f"{h100}-1": h100, f"{h100}-2": h100, f"{a100}-1": a100}
    assert plan.incidents == [
        Slow(20.0, f"{h100}-2", 1.8),
        Join(30.0, f"{h100}-3", h100),
        Die(40.0, f"{a100}-1"),
    ]


def test_nothing_can_befall_an_engine_that_there_is_not():
    with pytest.raises(ImpossibleLoad, match=r"no engine 'x'; there are h100-llama3.1-8b-1"):
        planned_fleet([Member("h100-llama3.1-8b")], [Die(1.0, "x")])


@pytest.mark.parametrize("text", ["a", "a@", "a@-1", "a@x", "a@1:0", "a@1:"])
def test_what_befalls_needs_an_engine_an_instant_and_a_factor(text):
    with pytest.raises((ValueError, argparse.ArgumentTypeError)):
        parse_slow(text)


def test_nothing_befalls_an_engine_before_it_joins():
    join, profile = Join(2.0, "", "h100-llama3.1-8b"), Member("h100-llama3.1-8b")
    with pytest.raises(ImpossibleLoad, match=r"'h100-llama3\.1-8b-2' at 1 s: it joins at 2 s"):
        planned_fleet([profile], [Die(1.0, "h100-llama3.1-8b-2"), join])
    at_once = planned_fleet([profile], [Die(2.0, "h100-llama3.1-8b-2"), join])
    assert [type(incident) for incident in at_once.incidents] == [Join, Die]


def test_a_run_that_is_over_as_it_begins_brought_nothing():
    dead = scenario("one", incidents=(Die(0.0, "one"),))
    run = score_run(0, simulate(dead, [request(0.0)], 0))
    assert (run.duration_s, run.goodput_per_s, run.tokens_per_s) == (0.0, 0.0, 0.0)
