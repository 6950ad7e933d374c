"""An engine that fails is passed over, longer each time, until one request has found it well."""

import pytest

from services.prism.breaker import FIRST_OPEN_S, MOST_OPEN_S, Breaker, BreakerState


def _failed(times: int) -> tuple[Breaker, float]:
    """A breaker whose every trial has failed at once, and the time of the last failure."""
    breaker, now_s = Breaker(), 100.0
    breaker.failed(now_s, now_s)
    for _ in range(times - 1):
        now_s += breaker.open_s
        breaker.sent(now_s)
        breaker.failed(now_s, now_s)
    return breaker, now_s


def test_an_engine_that_never_failed_takes_whatever_comes() -> None:
    breaker = Breaker()
    breaker.sent(0.0)
    assert breaker.state(0.0) is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("failures", "open_s"),
    [(1, FIRST_OPEN_S), (2, 2 * FIRST_OPEN_S), (3, 4 * FIRST_OPEN_S), (9, MOST_OPEN_S), (5000, MOST_OPEN_S)],
)
def test_each_failed_trial_doubles_the_time_up_to_a_bound(failures: int, open_s: float) -> None:
    breaker, failed_at_s = _failed(failures)
    assert breaker.state(failed_at_s + open_s - 0.01) is BreakerState.OPEN
    assert breaker.state(failed_at_s + open_s + 0.01) is BreakerState.HALF_OPEN


def test_requests_that_were_on_their_way_fail_with_the_first_and_count_once() -> None:
    breaker = Breaker()
    for now_s in (10.0, 10.1, 10.2):
        breaker.failed(9.0, now_s)
    assert breaker.state(10.0 + FIRST_OPEN_S) is BreakerState.HALF_OPEN


def test_an_answer_to_what_was_sent_before_the_failure_proves_nothing() -> None:
    breaker = Breaker()
    breaker.failed(9.0, 10.0)
    breaker.succeeded(9.5)
    assert breaker.state(10.0) is BreakerState.OPEN
    breaker.succeeded(10.5)
    assert breaker.state(10.5) is BreakerState.CLOSED


def test_while_one_request_tries_the_engine_the_others_are_kept_from_it() -> None:
    breaker, failed_at_s = _failed(1)
    trial_at_s = failed_at_s + FIRST_OPEN_S
    breaker.sent(trial_at_s)
    assert breaker.state(trial_at_s) is BreakerState.OPEN
    assert (
        breaker.state(trial_at_s + FIRST_OPEN_S) is BreakerState.HALF_OPEN
    )  # one that finds nothing is not waited for


def test_a_trial_that_found_nothing_leaves_its_place_to_another() -> None:
    breaker, failed_at_s = _failed(1)
    trial_at_s = failed_at_s + FIRST_OPEN_S
    breaker.sent(trial_at_s)
    breaker.left(failed_at_s - 1.0)  # another request
    assert breaker.state(trial_at_s) is BreakerState.OPEN
    breaker.left(trial_at_s)
    assert breaker.state(trial_at_s) is BreakerState.HALF_OPEN


def test_an_engine_that_was_found_well_begins_anew() -> None:
    breaker, failed_at_s = _failed(4)
    breaker.sent(failed_at_s + MOST_OPEN_S)
    breaker.succeeded(failed_at_s + MOST_OPEN_S)
    breaker.failed(failed_at_s + 40.0, failed_at_s + 41.0)
    assert breaker.open_s == FIRST_OPEN_S
