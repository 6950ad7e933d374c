"""Counts of what is on its way, by when it is due."""

import math

import pytest

from services.prism.pending import NOTHING, Pending, interval_of
from shared.engine_state import DUE_EDGES_S, DUE_INTERVALS
from tests.unit.prism.builders import by_due, pending


@pytest.mark.parametrize(
    ("due_in_s", "interval"),
    [(-1.0, 0), (0.0, 0), (0.25, 0), (0.251, 1), (1.0, 2), (16.0, 6), (16.1, 7), (math.inf, 7)],
)
def test_an_interval_ends_with_its_edge_and_the_last_has_none(due_in_s: float, interval: int) -> None:
    assert interval_of(due_in_s) == interval


def test_every_edge_ends_an_interval_of_its_own() -> None:
    assert [interval_of(edge_s) for edge_s in DUE_EDGES_S] == list(range(DUE_INTERVALS - 1))


def test_requests_are_counted_where_they_are_due() -> None:
    counted = Pending.of([(0, 10), (3, 5), (0, 1)])
    assert counted == Pending(by_due(2, 0, 0, 1, interval=0), by_due(11, 0, 0, 5, interval=0))
    assert (counted.requests, counted.prompt_tokens) == (3, 16)
    assert Pending.of_totals([*counted.requests_by_due, *counted.prompt_tokens_by_due]) == counted


def test_what_is_added_can_be_taken_away_and_no_more_than_that() -> None:
    some, more = pending(2, 30, interval=1), pending(1, 20, interval=4)
    assert some.plus(more).minus(more) == some
    assert some.minus(some.plus(more)) == NOTHING
    assert more.minus(some) == more


def test_of_two_the_lesser_interval_by_interval() -> None:
    assert pending(5, 10, interval=1).at_most(pending(3, 40, interval=1)) == pending(3, 10, interval=1)
    assert pending(5, 10, interval=1).at_most(pending(5, 10, interval=2)) == NOTHING
