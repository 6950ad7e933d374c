"""What is known of the fleet follows what is read of it: by changes, by reads of everything, and by what is not said any more."""

from typing import Any

import msgspec
import pytest

from services.prism.mirror import EXPIRED_AFTER_US, Mirror
from shared.engine_state import DUE_INTERVALS
from shared.fleet_scripts import Changes, announcement
from shared.forecast import Forecast, ModelHealth
from shared.names import engine_key, forecast_key, reserved_key
from shared.steptime import FEATURES
from shared.wire import encode
from tests.unit.prism.builders import pending, state

NOW_US = 1_000_000_000


def changes(*pairs: tuple[str, Any], now_us: int = NOW_US, is_whole: bool = False) -> Changes:
    values = [msgspec.Raw(msgspec.msgpack.encode(value)) for _, value in pairs]
    return Changes(now_us, now_us, "life:1", is_whole, [key for key, _ in pairs], values)


def told(name: str, at_us: int = NOW_US, **fields: object) -> tuple[str, str]:
    return engine_key(name), encode(state(name, announced_at_s=at_us / 1e6, **fields)).decode()


def forecast(name: str, steps: int) -> tuple[str, str]:
    value = Forecast(
        engine=name,
        written_at_s=0.0,
        health=ModelHealth.HEALTHY,
        steps_learned=steps,
        mape=None,
        coefficients_ms=dict.fromkeys(FEATURES, 1.0),
        uncertainty_ms={},
        floor_ms=1.0,
        capacity_tokens_per_s=1.0,
    )
    return forecast_key(name), encode(value).decode()


def totals(requests: int, tokens: int) -> list[int]:
    of = pending(requests, tokens)
    return [*of.requests_by_due, *of.prompt_tokens_by_due]


def mirror(*pairs: tuple[str, Any]) -> Mirror:
    known = Mirror()
    known.take(changes(*pairs, is_whole=True), forgiving=False)
    return known


def names(known: Mirror) -> list[str]:
    return [engine.state.engine for engine in known.pool.views]


def test_engines_are_in_order_of_their_names_whenever_they_came():
    known = mirror(told("c"), told("a"))
    known.take(changes(told("b")), forgiving=False)
    assert names(known) == ["a", "b", "c"]


def test_an_engine_of_which_nothing_new_is_read_stays_the_same_value():
    known = mirror(told("a"), told("b"), forecast("a", 1), forecast("b", 1))
    before = known.pool.views
    known.take(changes(told("b", decode_seqs=2), forecast("a", 1)), forgiving=False)
    assert known.pool.views[0] is before[0]
    assert (known.pool.views[1].state.decode_seqs, known.pool.views[1].steps_learned) == (2, 1)
    assert before[1].state.decode_seqs == 0


def test_reading_nothing_new_changes_nothing():
    known = mirror(told("a"), (reserved_key("a"), totals(2, 30)))
    before = known.pool.views, known.reserved
    known.take(changes(), forgiving=False)
    assert (known.pool.views, known.reserved) == before
    assert known.pool.views is before[0]


def test_an_engine_whose_key_is_gone_is_gone_unless_redis_was_away():
    known, gone = mirror(told("a"), told("b")), (engine_key("a"), False)
    known.take(changes(gone), forgiving=True)
    assert names(known) == ["a", "b"]
    known.take(changes(gone), forgiving=False)
    assert names(known) == ["b"]


def test_an_engine_that_has_said_nothing_for_its_lifetime_is_gone():
    known = mirror(told("late", NOW_US + 5), told("old", NOW_US))
    known.take(changes(now_us=NOW_US + EXPIRED_AFTER_US + 1), forgiving=True)
    assert names(known) == ["late", "old"]
    known.take(changes(now_us=NOW_US + EXPIRED_AFTER_US), forgiving=False)
    assert names(known) == ["late", "old"]
    known.take(changes(now_us=NOW_US + EXPIRED_AFTER_US + 1), forgiving=False)
    assert names(known) == ["late"]


def test_a_read_of_everything_leaves_nothing_else():
    known = mirror(told("a"), told("b"), (reserved_key("a"), totals(1, 5)))
    known.take(changes(told("b"), is_whole=True), forgiving=False)
    assert names(known) == ["b"]
    assert known.reserved == {}


def test_what_cannot_be_read_leaves_the_last_and_is_a_sign_of_life():
    known = mirror(told("a", decode_seqs=4), forecast("a", 9))
    later_us = NOW_US + EXPIRED_AFTER_US
    known.take(changes((engine_key("a"), "{"), (forecast_key("a"), '{"v": 99}'), now_us=later_us), forgiving=False)
    known.take(changes(now_us=later_us + 1), forgiving=False)
    assert [(engine.state.decode_seqs, engine.steps_learned) for engine in known.pool.views] == [(4, 9)]


@pytest.mark.parametrize("field", ["prefill_tokens_by_due", "prefills_by_due", "arriving_tokens_per_s"])
@pytest.mark.parametrize("intervals", [1, DUE_INTERVALS - 1, DUE_INTERVALS + 1])
def test_a_state_that_counts_by_other_intervals_leaves_the_last(field: str, intervals: int) -> None:
    """A lens of another version: no request may fail for it."""
    known = mirror(told("a", decode_seqs=4))
    key, text = told("a", decode_seqs=5)
    strange = msgspec.json.encode({**msgspec.json.decode(text), field: [1] * intervals}).decode()
    known.take(changes((key, strange), (engine_key("b"), strange)), forgiving=False)
    assert [(engine.state.engine, engine.state.decode_seqs) for engine in known.pool.views] == [("a", 4)]
    assert all(len(engine.row) for engine in known.pool.views)


def test_a_number_that_is_beyond_all_reckoning_leaves_the_last() -> None:
    known = mirror(told("a", decode_seqs=4), told("b"))
    key, text = told("a", decode_seqs=5)
    absurd = (
        msgspec.json.encode(msgspec.json.decode(text)).replace(b'"kv_tokens":0', b'"kv_tokens":' + b"9" * 400).decode()
    )
    assert absurd != text
    known.take(changes((key, absurd), told("b", decode_seqs=7)), forgiving=False)
    assert [(view.state.engine, view.state.decode_seqs) for view in known.pool.views] == [("a", 4), ("b", 7)]


def test_a_state_under_the_key_of_another_leaves_the_last() -> None:
    known = mirror(told("a", decode_seqs=4))
    _, of_another = told("imposter", decode_seqs=5)
    known.take(changes((engine_key("a"), of_another), (engine_key("b"), of_another)), forgiving=False)
    assert [(view.state.engine, view.state.decode_seqs) for view in known.pool.views] == [("a", 4)]


def test_what_is_no_text_leaves_the_last_too():
    known = mirror(told("a", decode_seqs=4), forecast("a", 9))
    no_text = msgspec.Raw(b"\xa2\xff\xfe")
    known.take(changes((engine_key("a"), no_text), (forecast_key("a"), no_text)), forgiving=False)
    assert [(engine.state.decode_seqs, engine.steps_learned) for engine in known.pool.views] == [(4, 9)]


def test_a_forecast_of_an_engine_that_is_not_there_is_not_kept():
    known = mirror(forecast("a", 9))
    assert not known.pool.views
    known.take(changes(told("a")), forgiving=False)
    assert known.pool.views[0].steps_learned == 0


def test_a_forecast_marked_before_the_latest_state_of_an_engine_that_is_new_is_kept():
    known = Mirror()
    known.take(changes(forecast("a", 9), told("a")), forgiving=False)
    assert known.pool.views[0].steps_learned == 9


def test_totals_are_the_latest_and_none_where_nothing_is_reserved():
    known = mirror(told("a"), (reserved_key("a"), totals(2, 30)), (reserved_key("b"), totals(0, 0)))
    shown = known.reserved
    assert shown == {"a": pending(2, 30)}
    known.note_reserved("a", pending(3, 40))
    assert known.reserved == {"a": pending(3, 40)}
    known.take(changes((reserved_key("a"), totals(0, 0))), forgiving=False)
    assert known.reserved == {}
    assert shown == {"a": pending(2, 30)}


def test_an_announcement_leaves_the_time_to_redis_whatever_the_state_says():
    strange = state('"announced_at_s":0.0', url='\\"announced_at_s":0.0', announced_at_s=77.0)
    engine, head, tail, *settled = announcement(strange, ["r:1"])
    assert isinstance(head, bytes)
    assert isinstance(tail, bytes)
    assert msgspec.json.decode(head + b"5.25" + tail, type=type(strange)).announced_at_s == 5.25
    assert (engine, settled) == (strange.engine, ["r:1"])
