"""Small fleets whose answers follow by hand: a step takes 10 ms + 1 ms a sequence + 0.1 ms a token."""

import pytest

from loadgen.simulate.fleet import Die, Join, Slow
from tests.unit.loadgen.simulate.builders import hardware, outcomes, request, scenario


def test_one_request_takes_its_prompt_in_a_step_and_then_a_step_a_token():
    """100 tokens: 21 ms; two more tokens: 11.1 ms each. Steps are sent ahead, so none waits for the answer before."""
    (outcome,) = outcomes(scenario(), [request(0.5)])
    assert outcome.ttft_s == pytest.approx(0.021)
    assert outcome.e2e_s == pytest.approx(0.0432)
    assert outcome.tpot_s == pytest.approx(0.0111)
    assert (outcome.engine, outcome.output_tokens, outcome.attained) == ("a", 3, True)


def test_a_prompt_beyond_the_budget_takes_several_steps():
    """600 tokens: 512 in 62.2 ms, 88 in 19.8 ms."""
    (outcome,) = outcomes(scenario(), [request(prompt_tokens=600)])
    assert outcome.ttft_s == pytest.approx(0.082)


def test_who_comes_while_steps_are_on_their_way_waits_for_both():
    """The first's prompt ends at 21 ms, its second token at 32.1 ms; at 21 ms the third step is planned, the newcomer in it."""
    first, second = outcomes(scenario(), [request(0.0, output_tokens=10), request(0.001, output_tokens=1)])[::-1]
    assert second.ttft_s == pytest.approx(0.0321 + 0.010 + 2 * 0.001 + 0.0101 - 0.001)
    assert first.e2e_s == pytest.approx(0.021 + 8 * 0.0111 + 0.0221)


def test_a_full_engine_refuses():
    tight = scenario(max_waiting=1, of=hardware(max_slots=1))
    refused = [o for o in outcomes(tight, [request(0.001 * n, output_tokens=50) for n in range(4)]) if o.status == 429]
    assert [outcome.problem for outcome in refused] == ["every engine is full"] * 2
    assert not any(outcome.attained for outcome in refused)


def test_a_refused_request_is_taken_by_another_engine():
    tight = scenario("a", "b", max_waiting=1, of=hardware(max_slots=1), policy="least-requests")
    assert all(outcome.status == 200 for outcome in outcomes(tight, [request(0.001 * n) for n in range(4)]))


def test_what_no_engine_can_hold_is_told_so():
    (outcome,) = outcomes(scenario(of=hardware(kv_tokens=80)), [request()])
    assert outcome.status == 400
    assert outcome.problem is not None
    assert "context" in outcome.problem


def test_an_engine_that_slows_takes_longer_from_its_next_step_on():
    """10 tokens: the prompt and the step that has begun are as ever; seven steps take twice 11.1 ms."""
    slowed = scenario(incidents=(Slow(0.025, "a", 2.0),))
    (outcome,) = outcomes(slowed, [request(output_tokens=10)])
    assert outcome.e2e_s == pytest.approx(0.021 + 0.0111 + 8 * 0.0222)


def test_an_engine_that_dies_loses_what_it_has_begun_to_answer_and_nothing_else():
    dying = scenario("a", "b", incidents=(Die(0.03, "a"),))
    begun, elsewhere, not_begun = request(0.0, output_tokens=50), request(0.001, output_tokens=50), request(0.022)
    ended = {outcome.request: outcome for outcome in outcomes(dying, [begun, elsewhere, not_begun])}
    assert (ended[begun].status, ended[begun].problem) == (502, "a broke off")
    assert ended[elsewhere].engine == "b"
    assert (ended[not_begun].engine, ended[not_begun].attempts, ended[not_begun].status) == ("b", 2, 200)


def test_without_any_engine_left_requests_are_turned_away():
    (outcome,) = outcomes(scenario(incidents=(Die(0.0, "a"),)), [request(0.5)])
    assert outcome.status == 503


def test_an_engine_that_joins_is_seen_when_its_announcement_is_through():
    joined = scenario("a", incidents=(Join(1.0, "b", "plain"),), instant=False, delay_s=0.5, policy="least-requests")
    early, late = request(1.2, output_tokens=200), request(1.6)
    assert [outcome.engine for outcome in outcomes(joined, [request(0.9, output_tokens=200), early, late])] == [
        "b",
        "a",
        "a",
    ]


def test_a_dead_engine_stays_in_the_pool_until_its_key_expires_but_every_request_is_answered():
    dying = scenario("a", "b", incidents=(Die(0.5, "a"),), instant=False, delay_s=0.0)
    after = outcomes(dying, [request(0.6 + 0.1 * n) for n in range(60)])
    assert {outcome.engine for outcome in after} == {"b"}
    assert all(outcome.status == 200 for outcome in after)
    tried_again = [outcome.sent_s for outcome in after if outcome.attempts == 2]
    assert tried_again[0] <= 0.7
    assert max(tried_again) < 0.5 + 3.0


def test_a_replica_sees_what_another_has_just_sent():
    """At 0.1 s both engines were last announced idle; whoever takes the second request knows of the first all the same."""
    shared = scenario("a", "b", replicas=4, instant=False, delay_s=1.0, policy="least-requests")
    taken = [outcome.engine for outcome in outcomes(shared, [request(0.1 + 0.001 * n) for n in range(20)])]
    assert taken.count("a") == taken.count("b") == 10
