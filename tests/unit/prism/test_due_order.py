"""Which of the prompts that wait are computed in time."""

from typing import Any

import pytest

from services.prism.due_order import BEGIN_S, EDGES_S, Queue, keep_next, nothing_kept, queue_of
from services.prism.engine_row import rows_of
from services.prism.pending import NOTHING, Pending
from shared.engine_state import DUE_EDGES_S, DUE_INTERVALS
from tests.unit.prism.builders import by_due, engine, pending, waiting


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ((10,), (10,)),
        ((30,), (25,)),  # 100 a second
        ((10, 50), (10, 40)),
        ((30, 10), (25, 10)),
        ((0, 60), (0, 50)),
        ((30, 30, 200), (25, 25, 50)),
    ],
)
def test_what_is_due_earlier_is_computed_first_and_what_is_late_not_at_all(
    tokens: tuple[int, ...], kept: tuple[int, ...]
) -> None:
    computed, so_far = [], nothing_kept()
    for edge_s, due_tokens in zip(EDGES_S, by_due(*tokens, interval=0), strict=True):
        so_far = keep_next(so_far, float(due_tokens), 100.0 * edge_s)
        computed.append(so_far.tokens)
    assert computed == list(by_due(*kept, interval=0))


def test_intervals_follow_one_another() -> None:
    assert (0.0, *DUE_EDGES_S) == BEGIN_S
    assert EDGES_S[:-1] == BEGIN_S[1:]
    assert len(EDGES_S) == DUE_INTERVALS
    assert all(begin_s < edge_s for begin_s, edge_s in zip(BEGIN_S, EDGES_S, strict=True))


RATE = 1000.0


def queue(due_s: float, own_tokens: float, load: Pending = NOTHING, **changes: Any) -> Queue:
    (row,) = rows_of([engine("a", **changes).row])
    return queue_of(row, load.as_array, RATE, own_tokens, due_s)


def test_an_empty_queue_breaks_and_delays_nothing() -> None:
    assert queue(1.0, 500.0) == (0.0, 0.0, 0.0)


MIDDLE_S = (BEGIN_S[1] + EDGES_S[1]) / 2


def test_what_is_due_in_the_same_interval_is_before_a_request_by_its_share_of_it() -> None:
    found = queue(MIDDLE_S, 1.0, **waiting(2, 100, interval=1))
    assert (found.kept_tokens, found.kept_before) == pytest.approx((100.0, 50.0))


def test_a_prompt_that_takes_the_room_of_one_that_waits_breaks_its_promise() -> None:
    assert queue(MIDDLE_S, 100.0, **waiting(2, 200, interval=1)).others_broken == pytest.approx(0.0)
    assert queue(MIDDLE_S, 1e5, **waiting(2, 200, interval=1)).others_broken == pytest.approx(2.0)


def test_what_is_on_its_way_counts_as_what_waits() -> None:
    both = queue(MIDDLE_S, 1e5, pending(1, 50, interval=1), **waiting(1, 150, interval=1))
    assert both == queue(MIDDLE_S, 1e5, **waiting(2, 200, interval=1))
