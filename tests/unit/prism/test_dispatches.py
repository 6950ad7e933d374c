"""What a replica has sent counts as load until a state shows it, the request ends, or it is too old to be on its way."""

import math

import pytest

from services.prism.breaker import FIRST_OPEN_S, BreakerState
from services.prism.dispatches import (
    FIRST_BYTE_GAIN,
    FORGET_AFTER_S,
    MOST_NUMBERED,
    PENDING_S,
    RECENT_S,
    Dispatch,
    Dispatches,
    Load,
    Placed,
)
from services.prism.fleet import Fleet, Pool
from services.prism.pending import Pending
from tests.unit.prism.builders import LAST_INTERVAL, engine, pending, state


def _three_sent() -> Dispatches:
    dispatches = Dispatches("r1")
    for number in range(3):
        dispatches.send("a", prompt_tokens=100, now_s=float(number))
    return dispatches


@pytest.mark.parametrize(
    ("admitted", "now_s", "count"),
    [
        ({}, 3.0, 3),
        ({"r1": 1}, 3.0, 2),
        ({"r1": 3}, 3.0, 0),
        ({"r2": 9}, 3.0, 3),  # another replica's numbers
        ({}, PENDING_S + 0.5, 2),
        ({"r1": 2}, PENDING_S + 1.5, 1),
        ({}, PENDING_S + 2.0, 0),
    ],
)
def test_dispatches_above_the_echo_and_young_are_pending(admitted: dict[str, int], now_s: float, count: int) -> None:
    load = _three_sent().load(state("a", admitted=admitted), now_s)
    assert load == Load(outstanding_requests=3, pending=pending(count, 100 * count))


@pytest.mark.parametrize(("due_in_s", "interval"), [(0.0, 0), (0.25, 0), (0.26, 1), (3.0, 4), (16.0, 6), (math.inf, 7)])
def test_what_is_on_its_way_is_told_apart_by_when_it_was_due(due_in_s: float, interval: int) -> None:
    dispatches = Dispatches("r1")
    dispatches.send("a", 100, 0.0, due_in_s)
    assert dispatches.load(state("a"), 0.0).pending == pending(1, 100, interval)


def test_numbers_count_by_engine() -> None:
    dispatches = Dispatches("r1")
    assert [dispatches.send(engine, 1, 0.0).number for engine in "aabab"] == [1, 2, 1, 3, 2]


def test_an_ended_request_is_neither_outstanding_nor_pending() -> None:
    dispatches = Dispatches("r1")
    first, second = (dispatches.send("a", 10, 0.0) for _ in range(2))
    dispatches.end(second)
    assert dispatches.load(state("a"), 0.0) == Load(1, pending(1, 10))
    dispatches.end(first)
    assert dispatches.load(state("a"), 0.0) == Load()


def test_an_engine_that_failed_is_suspect_for_a_while() -> None:
    dispatches = Dispatches("r1")
    dispatches.failed(dispatches.send("a", 1, 9.0), now_s=10.0)
    assert dispatches.load(state("a"), 10.0 + FIRST_OPEN_S - 0.1).suspect
    assert not dispatches.load(state("a"), 10.0 + FIRST_OPEN_S).suspect
    assert not dispatches.load(state("b"), 10.0).suspect


@pytest.mark.parametrize(
    ("finding", "after"),
    [
        ("answered", BreakerState.CLOSED),
        ("full", BreakerState.CLOSED),
        ("failed", BreakerState.OPEN),
        ("left", BreakerState.HALF_OPEN),
    ],
)
def test_one_request_finds_out_whether_the_engine_is_back(finding: str, after: BreakerState) -> None:
    dispatches = Dispatches("r1")
    failed = dispatches.send("a", 1, 0.0)
    dispatches.failed(failed, 0.0)
    dispatches.end(failed)
    trial = dispatches.send("a", 1, FIRST_OPEN_S)
    assert dispatches.load(state("a"), FIRST_OPEN_S).suspect  # for all others
    match finding:
        case "answered":
            dispatches.answered(trial, FIRST_OPEN_S + 0.5)
        case "full":
            dispatches.well(trial)
        case "failed":
            dispatches.failed(trial, FIRST_OPEN_S + 0.5)
    dispatches.end(trial)
    assert dispatches.breaker_state("a", FIRST_OPEN_S + 0.5) is after


def test_first_bytes_of_late_are_averaged_and_forgotten() -> None:
    dispatches = Dispatches("r1")
    dispatches.answered(dispatches.send("a", 1, 0.0), 1.0)
    dispatches.answered(dispatches.send("a", 1, 1.0), 3.0)
    assert dispatches.load(state("a"), 3.0).recent_first_byte_s == pytest.approx(1.0 + FIRST_BYTE_GAIN)
    assert dispatches.load(state("b"), 3.0).recent_first_byte_s is None
    assert dispatches.load(state("a"), 3.1 + RECENT_S).recent_first_byte_s is None


def test_what_all_have_reserved_is_pending_and_ones_own_only_until_it_is_among_that() -> None:
    dispatches = _three_sent()
    fleet = Fleet(pool=Pool.of((engine("a"), engine("b"))), reserved={"b": pending(5, 70)}, age_s=0.0)
    assert dispatches.loads(fleet, 3.0) == {"a": Load(3, pending(3, 300)), "b": Load(0, pending(5, 70))}
    dispatches.reserved(Dispatch("a", 2, 100, 1.0, LAST_INTERVAL))
    assert dispatches.loads(fleet, 3.0)["a"] == Load(3, pending(2, 200))
    unknown = Fleet(pool=fleet.pool, reserved=None, age_s=9.0)
    assert dispatches.loads(unknown, 3.0) == {"a": Load(3, pending(3, 300))}


def test_what_nothing_is_known_of_has_no_load() -> None:
    dispatches = Dispatches("r1")
    dispatches.end(dispatches.send("a", 10, 0.0))
    assert not dispatches.loads(Fleet(pool=Pool.of((engine("a"),)), reserved={}, age_s=0.0), 0.0)


@pytest.mark.parametrize(
    ("found", "moved"),
    [
        (pending(11, 2100), False),  # as assumed, and itself
        (pending(9, 1900), False),  # others have arrived meanwhile
        (pending(12, 2100), True),
        (pending(11, 2200), False),  # a twentieth of 3,000 waiting and pending, and of its own 100, is 155
        (pending(11, 2256), True),
    ],
)
def test_others_have_come_when_much_more_is_ahead_than_was_thought(found: Pending, moved: bool) -> None:
    placed = Placed(Dispatch("a", 1, 100, 0.0, LAST_INTERVAL), found)
    assumed = Load(pending=pending(10, 2000))
    assert placed.moved_much(state("a", decode_seqs=5, waiting_prefill_tokens=1000), assumed) is moved


def test_who_chooses_anew_counts_on_its_engine_only_what_was_there_before_it() -> None:
    dispatches = Dispatches("r1")
    dispatch = dispatches.send("a", 100, 0.0)
    dispatches.reserved(dispatch)
    fleet = Fleet(
        pool=Pool.of((engine("a"), engine("b"))), reserved={"a": pending(9, 900), "b": pending(2, 20)}, age_s=0.0
    )
    loads = dispatches.loads(fleet, 0.0, placed=Placed(dispatch, pending(4, 350)))
    assert loads == {"a": Load(0, pending(3, 250)), "b": Load(0, pending(2, 20))}
    settled = Fleet(pool=fleet.pool, reserved={"a": pending(2, 150)}, age_s=0.0)
    assert dispatches.loads(settled, 0.0, placed=Placed(dispatch, pending(4, 350)))["a"] == Load(0, pending(1, 50))


def _known_of(dispatches: Dispatches, engine: str) -> bool:
    return any(engine in known for known in (dispatches._breakers, dispatches._first_bytes, dispatches._loads))


def test_who_has_left_is_forgotten_after_a_while_but_for_its_number() -> None:
    """Or a fleet whose engines come and go under new names would be remembered for ever."""
    dispatches = Dispatches("r1")
    stays, leaves, works = (dispatches.send(name, 1, 0.0) for name in ("stays", "leaves", "works"))
    for dispatch in (stays, leaves, works):
        dispatches.failed(dispatch, 0.5)
        dispatches.answered(dispatch, 1.0)
    dispatches.end(stays)
    dispatches.end(leaves)
    all_three = Fleet(pool=Pool.of((engine("leaves"), engine("stays"), engine("works"))), reserved={}, age_s=0.0)
    dispatches.loads(all_three, 1.0)
    one = Fleet(pool=Pool.of((engine("stays"),)), reserved={}, age_s=0.0)
    dispatches.loads(one, FORGET_AFTER_S)
    assert _known_of(dispatches, "leaves")
    dispatches.loads(one, FORGET_AFTER_S + 2.0)
    assert [_known_of(dispatches, name) for name in ("stays", "leaves", "works")] == [True, False, True]
    assert dispatches.send("leaves", 1, FORGET_AFTER_S + 3.0).number == 2


def test_no_number_is_given_twice_however_many_engines_there_were() -> None:
    dispatches = Dispatches("r1")
    for _ in range(3):
        dispatches.end(dispatches.send("first", 1, 0.0))
    for number in range(MOST_NUMBERED):
        dispatches.end(dispatches.send(f"engine-{number}", 1, 0.0))
    assert len(dispatches._numbers) == MOST_NUMBERED
    assert dispatches.send("first", 1, 0.0).number > 3
