"""Which engine gets a request: a table of decisions."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from services.prism.dispatches import Load
from services.prism.fleet import EngineView, Fleet, Pool
from services.prism.prompt_size import Ask
from services.prism.route import NotNow, Reason, Route, choose
from shared.errors import NotFound, Overloaded, Unavailable
from shared.forecast import ModelHealth
from shared.slo import Slo
from shared.steptime import PRIOR
from tests.unit.prism.builders import MODEL, engine, step_model, waiting

ASK = Ask(prompt_tokens=500, output_tokens=100)
NO_TARGETS = Slo()
FAST, SLOW = step_model(base_s=0.005), step_model(base_s=0.05)
COLD: dict[str, Any] = {"model": PRIOR, "health": ModelHealth.COLD, "forecast_age_s": math.inf}


def _chosen(
    *engines: EngineView,
    ask: Ask = ASK,
    slo: Slo = NO_TARGETS,
    loads: dict[str, Load] | None = None,
    draw: float = 0.5,
    tried: frozenset[str] = frozenset(),
    age_s: float = 0.0,
    cached_blocks: Mapping[str, int] = MappingProxyType({}),
) -> Route:
    fleet = Fleet(pool=Pool.of(engines), age_s=age_s)
    return choose(fleet, loads or {}, ask, slo, model=MODEL, draw=draw, tried=tried, cached_blocks=cached_blocks)


def test_the_faster_of_two_idle_engines_is_chosen() -> None:
    route = _chosen(engine("slow", model=SLOW), engine("fast", model=FAST))
    assert (route.engine, route.reason) == ("fast", Reason.LEAST_PREDICTED)
    assert route.predicted_ttft_s is not None
    assert 0.005 < route.predicted_ttft_s < 0.1


def test_a_slow_engine_with_room_beats_a_fast_one_with_a_queue() -> None:
    fast = engine("fast", model=FAST, **waiting(40, 100_000, interval=5))
    assert _chosen(engine("slow", model=SLOW), fast).engine == "slow"


def test_the_tighter_target_decides() -> None:
    quick_start = engine("quick-start", model=step_model(base_s=0.04))
    quick_tokens = engine("quick-tokens", model=FAST, **waiting(8, 4000))
    hurried = Slo(ttft_s=0.2, tpot_s=10.0)
    steady = Slo(ttft_s=10.0, tpot_s=0.06)
    assert _chosen(quick_start, quick_tokens, slo=hurried).engine == "quick-start"
    assert _chosen(quick_start, quick_tokens, slo=steady).engine == "quick-tokens"


def test_an_end_to_end_target_counts_too() -> None:
    engines = (engine("slow", model=SLOW), engine("fast", model=FAST))
    assert _chosen(*engines, slo=Slo(e2e_s=1.0)).engine == "fast"
    one_token = Ask(prompt_tokens=100, output_tokens=1, most_output_tokens=1)
    route = _chosen(*engines, ask=one_token, slo=Slo(e2e_s=1.0))
    assert (route.engine, route.reason) == ("fast", Reason.LEAST_PREDICTED)


@pytest.mark.parametrize(("draw", "name"), [(0.11, "a"), (0.5, "b"), (0.99, "c"), (0.05, "b")])
def test_equals_are_drawn_from(draw: float, name: str) -> None:
    route = _chosen(engine("a"), engine("b"), engine("c"), draw=draw)
    assert (route.engine, route.reason) == (name, Reason.NEAR_TIE)


@pytest.mark.parametrize(
    ("excluded", "load"),
    [
        ({"draining": True}, Load()),
        ({"serving": False}, Load()),
        ({"model": SLOW}, Load()),
        ({"max_context_tokens": 400}, Load()),
        ({"kv_blocks_total": 10}, Load()),
        ({}, Load(suspect=True)),
    ],
)
def test_an_engine_that_should_not_be_chosen_is_not(excluded: dict[str, Any], load: Load) -> None:
    better = engine("better", **{"model": FAST, **excluded})
    assert _chosen(better, engine("other", model=step_model(base_s=0.02)), loads={"better": load}).engine == "other"


def test_an_engine_tried_already_is_not_tried_again() -> None:
    engines = (engine("a", model=FAST), engine("b", model=SLOW))
    assert _chosen(*engines, tried=frozenset({"a"})).engine == "b"
    with pytest.raises(Unavailable, match="failed: a, b"):
        _chosen(*engines, tried=frozenset({"a", "b"}))


def test_a_model_whose_only_engine_has_left_after_it_failed_is_away_and_not_unknown() -> None:
    with pytest.raises(Unavailable, match="failed: gone"):
        choose(
            Fleet(pool=Pool.of((engine("a"),)), age_s=0),
            {},
            ASK,
            NO_TARGETS,
            model="other",
            draw=0.5,
            tried=frozenset({"gone"}),
        )


def test_suspects_are_better_than_nothing() -> None:
    assert _chosen(engine("a"), loads={"a": Load(suspect=True)}).engine == "a"


def test_a_request_that_seems_too_large_goes_to_the_largest_context_to_be_judged() -> None:
    ask = Ask(prompt_tokens=9000, output_tokens=10)
    assert _chosen(engine("small", model=FAST), engine("large", max_context_tokens=8192), ask=ask).engine == "large"


def test_an_unknown_model_is_told_from_a_model_that_cannot_be_served_now() -> None:
    with pytest.raises(NotFound) as not_found:
        choose(Fleet(pool=Pool.of((engine("a"),)), age_s=0), {}, ASK, NO_TARGETS, model="other", draw=0.5)
    assert (not_found.value.param, not_found.value.code) == ("model", "model_not_found")
    assert MODEL not in not_found.value.message, (
        "keys may be bound to models; what others there are is not theirs to know"
    )
    with pytest.raises(Unavailable) as unavailable:
        _chosen(engine("a", draining=True))
    assert unavailable.value.headers == {"retry-after": "1", "retry-after-ms": "1000"}


def test_an_empty_fleet_is_told_from_one_never_read() -> None:
    with pytest.raises(Unavailable, match="no engine is in the fleet"):
        _chosen()
    with pytest.raises(Unavailable, match="Redis is away"):
        _chosen(age_s=math.inf)


def test_with_stale_loads_the_engine_with_the_fewest_requests_is_chosen() -> None:
    engines = (engine("fast", model=FAST), engine("slow", model=SLOW))
    route = _chosen(*engines, loads={"fast": Load(outstanding_requests=2), "slow": Load(1)}, age_s=60.0)
    assert (route.engine, route.reason, route.predicted_ttft_s) == ("slow", Reason.LEAST_OUTSTANDING, None)


@pytest.mark.parametrize(
    ("draw", "slo", "outstanding", "reason"),
    [
        (0.05, NO_TARGETS, 0, Reason.EXPLORE),
        (0.05, Slo(ttft_s=30.0), 0, Reason.EXPLORE),
        (0.05, Slo(ttft_s=0.2), 0, Reason.LEAST_PREDICTED),  # no slack
        (0.05, NO_TARGETS, 4, Reason.LEAST_PREDICTED),  # explored enough at the moment
        (0.15, NO_TARGETS, 0, Reason.LEAST_PREDICTED),
    ],
)
def test_an_unknown_engine_is_explored_a_little(draw: float, slo: Slo, outstanding: int, reason: Reason) -> None:
    route = _chosen(
        engine("known", model=FAST),
        engine("cold", **COLD),
        slo=slo,
        loads={"cold": Load(outstanding_requests=outstanding)},
        draw=draw,
    )
    assert route.reason is reason
    assert route.engine == ("cold" if reason is Reason.EXPLORE else "known")


def test_no_engine_looks_fast_because_nothing_is_known_of_it() -> None:
    assert _chosen(engine("cold", **COLD), engine("known", model=step_model(base_s=0.02))).engine == "known"


def test_a_request_that_no_engine_can_keep_a_promise_to_is_refused_for_now_or_for_good() -> None:
    full = engine("a", **waiting(40, 100_000))
    with pytest.raises(NotNow) as not_now:
        _chosen(full, slo=Slo(ttft_s=0.1))
    assert not_now.value.code == "targets_not_met"
    assert not_now.value.retry_after_s > 0.1
    with pytest.raises(Overloaded) as hopeless:
        _chosen(full, engine("b"), slo=Slo(ttft_s=0.001))
    assert not isinstance(hopeless.value, NotNow)
    assert (hopeless.value.code, hopeless.value.headers["x-should-retry"]) == ("targets_out_of_reach", "false")


BLOCKS = Ask(prompt_tokens=2000, output_tokens=100, blocks=tuple("abcd"), block_tokens=450.0)
HURRIED = Slo(ttft_s=0.5)


def test_of_equals_the_engine_that_has_the_prompts_beginning_is_chosen() -> None:
    for name in ("a", "b"):
        route = _chosen(engine("a"), engine("b"), ask=BLOCKS, slo=HURRIED, cached_blocks={name: 3})
        assert (route.engine, route.reason, route.cached_tokens) == (name, Reason.LEAST_PREDICTED, 1350)


def test_a_hit_that_saves_less_than_the_queue_before_it_takes_is_left() -> None:
    busy = engine("busy", **waiting(4, 4000))
    route = _chosen(busy, engine("idle"), ask=BLOCKS, slo=HURRIED, cached_blocks={"busy": 4})
    assert (route.engine, route.cached_tokens) == ("idle", 0)


def test_a_step_always_has_a_token_to_run() -> None:
    assert BLOCKS.tokens_of(9) == 1999
    assert ASK.tokens_of(9) == 0
