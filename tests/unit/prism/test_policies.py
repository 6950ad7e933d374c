"""Each policy by what sets it apart: a table of decisions."""

from typing import Any

import msgspec
import pytest

from services.prism.dispatches import Load
from services.prism.fleet import EngineView, Fleet, Pool
from services.prism.policies import POLICIES, policy_named
from services.prism.policy import Pick, Question, Reason
from services.prism.prompt_size import Ask
from services.prism.route import choose
from shared.slo import Slo
from tests.unit.prism.builders import MODEL, engine, pending, step_model

ASK = Ask(prompt_tokens=500, output_tokens=100)


def picked(
    policy: str,
    *engines: EngineView,
    loads: tuple[Load, ...] = (),
    draw: float = 0.5,
    turn: int = 0,
) -> int:
    known = {engine.state.engine: load for engine, load in zip(engines, loads, strict=False)}
    pick = policy_named(policy)(Question(Pool.of(engines), known, ASK, Slo(), draw, turn))
    assert isinstance(pick, Pick)
    return pick.place


def three() -> tuple[EngineView, EngineView, EngineView]:
    """The middle one has more to do."""
    return engine("a", decode_seqs=5), engine("b", decode_seqs=9), engine("c", decode_seqs=5)


def test_a_name_that_is_no_policy_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="round-robin, random, power-of-two"):
        policy_named("fastest")


def test_round_robin_takes_turns() -> None:
    assert [picked("round-robin", *three(), turn=turn) for turn in range(4)] == [0, 1, 2, 0]


@pytest.mark.parametrize(("draw", "place"), [(0.0, 0), (0.34, 1), (0.99, 2)])
def test_random_takes_any(draw: float, place: int) -> None:
    assert picked("random", *three(), draw=draw) == place


@pytest.mark.parametrize(("draw", "place"), [(0.1, 0), (0.3, 0), (0.4, 2), (0.6, 0), (0.7, 2), (0.99, 2)])
def test_the_less_busy_of_two_is_taken(draw: float, place: int) -> None:
    """Pairs by draw: ab, ac, bc, ba, ca, cb; of a and c the first drawn."""
    assert picked("power-of-two", *three(), draw=draw) == place


def test_two_of_one_is_one() -> None:
    assert picked("power-of-two", engine("a"), draw=0.99) == 0


@pytest.mark.parametrize(("draw", "place"), [(0.0, 0), (0.74, 0), (0.76, 1), (0.99, 1)])
def test_weights_are_capacities(draw: float, place: int) -> None:
    engines = (capable(3000.0, "a"), capable(1000.0, "b"))
    assert picked("weighted", *engines, draw=draw) == place


def test_an_engine_of_unknown_capacity_counts_as_the_others_do_on_average() -> None:
    engines = (capable(3000.0, "a"), capable(1000.0, "b"), capable(0.0, "c"))
    assert [picked("weighted", *engines, draw=draw) for draw in (0.49, 0.6, 0.7)] == [0, 1, 2]
    assert picked("weighted", capable(0.0, "a"), capable(0.0, "b"), draw=0.6) == 1


def test_the_fewest_requests_win_those_on_their_way_counted() -> None:
    busy = engine("a", decode_seqs=1, prefill_seqs=1, waiting_requests=1)
    assert picked("least-requests", busy, engine("b", decode_seqs=2)) == 1
    assert picked("least-requests", busy, engine("b", decode_seqs=2), loads=(Load(), Load(2, pending(2, 10)))) == 0


def test_a_capable_engine_may_have_more_requests() -> None:
    engines = (capable(3000.0, "a", decode_seqs=5), capable(1000.0, "b", decode_seqs=2))
    assert (picked("least-requests", *engines), picked("weighted-least-requests", *engines)) == (1, 0)


def test_tokens_tell_long_prompts_from_short_ones() -> None:
    engines = (engine("a", decode_seqs=1, kv_tokens=8000), engine("b", decode_seqs=4, kv_tokens=2000))
    assert (picked("least-requests", *engines), picked("least-tokens", *engines)) == (0, 1)
    assert picked("least-tokens", *engines, loads=(Load(), Load(1, pending(1, 7000)))) == 0


def test_a_capable_engine_may_have_more_tokens() -> None:
    engines = (capable(3000.0, "a", kv_tokens=2500), capable(1000.0, "b", kv_tokens=1000))
    assert (picked("least-tokens", *engines), picked("weighted-least-tokens", *engines)) == (1, 0)


def test_the_lowest_recent_latency_wins_and_who_is_not_heard_of_is_tried_once_at_a_time() -> None:
    engines = (engine("a"), engine("b"), engine("c"))
    heard = (Load(recent_first_byte_s=0.3), Load(recent_first_byte_s=0.2))
    assert picked("lowest-latency", *engines, loads=(*heard, Load())) == 2
    assert picked("lowest-latency", *engines, loads=(*heard, Load(outstanding_requests=1))) == 1


def test_the_published_score_adds_quickness_and_emptiness() -> None:
    slow, quick = step_model(base_s=0.04), step_model(base_s=0.01)
    engines = (capable(2000.0, "a", model=slow, decode_seqs=1), capable(2000.0, "b", model=quick, decode_seqs=1))
    assert picked("published", *engines) == 1
    queued = capable(2000.0, "b", model=quick, decode_seqs=1, waiting_prefill_tokens=2000)
    assert picked("published", engines[0], queued) == 0


def test_the_published_score_prefers_an_idle_engine_however_slow() -> None:
    slow, quick = step_model(base_s=0.5), step_model(base_s=0.01)
    assert picked("published", engine("a", model=slow), engine("b", model=quick, decode_seqs=1)) == 0


@pytest.mark.parametrize("policy", set(POLICIES) - {"synergy", "round-robin"})
def test_equals_are_drawn_from(policy: str) -> None:
    engines = (engine("a"), engine("b"))
    assert {picked(policy, *engines, draw=draw) for draw in (0.1, 0.2, 0.6, 0.9)} == {0, 1}


def test_whatever_the_policy_engines_that_may_not_be_chosen_are_not() -> None:
    fleet = Fleet(pool=Pool.of((engine("a", draining=True), engine("b"), engine("c"))), age_s=0.0)
    for policy in POLICIES.values():
        route = choose(fleet, {"c": Load(suspect=True)}, ASK, Slo(), model=MODEL, draw=0.9, turn=1, policy=policy)
        assert route.engine == "b"


def test_a_policy_to_compare_with_promises_nothing() -> None:
    fleet = Fleet(pool=Pool.of((engine("a"), engine("b"))), age_s=0.0)
    route = choose(fleet, {}, ASK, Slo(), model=MODEL, draw=0.9, turn=1, policy=policy_named("round-robin"))
    assert (route.engine, route.reason, route.predicted_ttft_s) == ("b", Reason.POLICY, None)


def capable(tokens_per_s: float, name: str, **changes: Any) -> EngineView:
    return msgspec.structs.replace(engine(name, **changes), capacity_tokens_per_s=tokens_per_s)
