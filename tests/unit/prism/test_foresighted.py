"""The engine with the fewest promises broken, the request's own and those of others; and none where it would only do harm."""

import pytest

from services.prism.dispatches import Load
from services.prism.fleet import EngineView, Pool
from services.prism.foresighted import (
    LEAST_RETRY_S,
    MOST_EXPLORING_REQUESTS,
    MOST_RETRY_S,
    foresighted,
)
from services.prism.policy import Pick, Question, Reason, Refusal
from services.prism.prompt_size import Ask
from shared.forecast import ModelHealth
from shared.slo import Slo
from tests.unit.prism.builders import by_due, engine, step_model, waiting

ASK = Ask(prompt_tokens=500, output_tokens=100)
FAST, MIDDLING, SLOW = (step_model(base_s=base_s) for base_s in (0.005, 0.02, 0.05))
NO_TARGETS, HURRIED = Slo(), Slo(ttft_s=0.2, tpot_s=0.1)
NO_EXPLORING = 0.5


def asked(
    *engines: EngineView, slo: Slo = HURRIED, draw: float = NO_EXPLORING, loads: tuple[Load, ...] = ()
) -> Pick | Refusal:
    known = {engine.state.engine: load for engine, load in zip(engines, loads, strict=False)}
    return foresighted(Question(Pool.of(engines), known, ASK, slo, draw, turn=0))


def picked(*engines: EngineView, slo: Slo = HURRIED, draw: float = NO_EXPLORING, loads: tuple[Load, ...] = ()) -> Pick:
    pick = asked(*engines, slo=slo, draw=draw, loads=loads)
    assert isinstance(pick, Pick)
    return pick


def refused(*engines: EngineView, slo: Slo = HURRIED) -> Refusal:
    refusal = asked(*engines, slo=slo)
    assert isinstance(refusal, Refusal)
    return refusal


def test_a_promise_is_worth_more_than_speed() -> None:
    queued = engine("queued", model=FAST, **waiting(8, 4000))
    assert picked(queued, engine("free", model=MIDDLING)).place == 1


def test_where_promises_are_safe_the_faster_engine_is_taken() -> None:
    assert picked(engine("a", model=MIDDLING), engine("b", model=FAST), slo=Slo(ttft_s=5.0)).place == 1


def test_a_place_is_not_taken_where_others_would_lose_theirs() -> None:
    tight = engine("tight", model=FAST, step_target_ms=50.0, decode_seqs=1, **waiting(20, 3500, interval=0))
    alone = picked(tight, slo=Slo(ttft_s=0.6))
    assert alone.p_met is not None
    assert alone.p_met > 0.9
    assert picked(tight, engine("slower", model=SLOW), slo=Slo(ttft_s=0.1)).place == 1


def test_time_is_not_taken_from_an_engine_that_has_none_left() -> None:
    pressed = engine("pressed", model=FAST, arriving_per_s=20.0, arriving_tokens_per_s=by_due(60_000, interval=6))
    assert picked(pressed, engine("idle", model=SLOW), slo=Slo(ttft_s=2.0)).place == 1
    assert picked(engine("same", model=FAST), engine("idle", model=SLOW), slo=Slo(ttft_s=2.0)).place == 0


def test_what_is_said_of_the_pick_is_said_of_that_engine() -> None:
    pick = picked(engine("a", model=SLOW), engine("b", model=FAST))
    alone = picked(engine("b", model=FAST))
    assert (pick.ttft_s, pick.tpot_s, pick.p_met) == (alone.ttft_s, alone.tpot_s, alone.p_met)
    assert pick.best_other_p_met == picked(engine("a", model=SLOW)).p_met
    assert (alone.reason, alone.best_other_p_met) == (Reason.ONLY_ENGINE, None)


@pytest.mark.parametrize(("draw", "place"), [(0.1, 0), (0.39, 0), (0.4, 1), (0.69, 1), (0.7, 2), (0.999, 2)])
def test_near_ties_are_drawn_from(draw: float, place: int) -> None:
    near = [
        engine(name, model=step_model(base_s=base_s)) for name, base_s in (("a", 0.01), ("b", 0.01001), ("c", 0.01))
    ]
    pick = picked(*near, engine("far", model=SLOW), draw=draw)
    assert (pick.place, pick.reason) == (place, Reason.NEAR_TIE)


def test_who_can_be_kept_no_promise_anywhere_is_refused_until_the_least_that_waits_is_done() -> None:
    far = engine("a", in_flight_ms=900.0, **waiting(40, 100_000, interval=3))
    near = engine("b", in_flight_ms=900.0, **waiting(40, 100_000, interval=1))
    refusal = refused(far, near)
    assert refusal.retry_after_s == pytest.approx(0.5)
    assert not refusal.hopeless


def test_who_could_only_be_kept_a_promise_at_the_cost_of_others_is_refused() -> None:
    refusal = refused(engine("a", **waiting(400, 100_000)))
    assert refusal.retry_after_s == pytest.approx(0.25)
    assert not refusal.hopeless


def test_when_to_ask_again_is_neither_at_once_nor_never() -> None:
    slow_steps = engine("a", in_flight_ms=900.0)
    assert refused(slow_steps) == Refusal(LEAST_RETRY_S, hopeless=False)
    full = engine("a", in_flight_ms=900.0, **waiting(99, 10**8, interval=7))
    assert refused(full).retry_after_s == MOST_RETRY_S


def test_what_no_idle_engine_could_keep_is_hopeless() -> None:
    assert refused(engine("a"), engine("b"), slo=Slo(ttft_s=0.001)).hopeless
    assert refused(engine("a", model=SLOW), slo=Slo(tpot_s=0.01)).hopeless


def test_who_was_promised_nothing_is_refused_nothing() -> None:
    full = engine("a", in_flight_ms=900.0, **waiting(99, 10**8))
    assert picked(full, slo=NO_TARGETS).place == 0


def test_one_engine_that_can_is_enough() -> None:
    assert picked(engine("a", **waiting(40, 100_000)), engine("b")).place == 1


@pytest.mark.parametrize("health", [ModelHealth.COLD, ModelHealth.WARMING])
@pytest.mark.parametrize(
    ("slo", "outstanding", "draw", "reason"),
    [
        (Slo(ttft_s=5.0), 0, 0.05, Reason.EXPLORE),
        (NO_TARGETS, 0, 0.05, Reason.EXPLORE),
        (Slo(ttft_s=0.05), 0, 0.05, Reason.LEAST_PREDICTED),  # it would hardly be met there
        (Slo(ttft_s=5.0), MOST_EXPLORING_REQUESTS, 0.05, Reason.LEAST_PREDICTED),
        (Slo(ttft_s=5.0), 0, 0.1, Reason.LEAST_PREDICTED),
    ],
)
def test_who_has_slack_may_be_sent_to_an_unknown_engine(
    health: ModelHealth, slo: Slo, outstanding: int, draw: float, reason: Reason
) -> None:
    engines = (engine("known", model=FAST), engine("unknown", model=SLOW, health=health))
    pick = picked(*engines, slo=slo, draw=draw, loads=(Load(), Load(outstanding_requests=outstanding)))
    assert (pick.reason, pick.place) == (reason, int(reason is Reason.EXPLORE))
