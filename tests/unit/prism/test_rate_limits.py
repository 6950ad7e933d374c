"""Buckets: a burst, then the rate; what is left is said truly; what owes nothing is not kept."""

import pytest

from services.prism.grants import RateLimit
from services.prism.rate_limits import RateLimits

LIMIT = RateLimit(requests_per_s=10.0, burst=3)


def _allowed(limits: RateLimits, times: int, now_s: float, key: str = "a") -> int:
    return sum(limits.take(key, LIMIT, now_s).allowed for _ in range(times))


def test_a_burst_is_let_in_and_then_what_the_rate_gives():
    limits = RateLimits()
    assert _allowed(limits, 5, 100.0) == 3
    assert _allowed(limits, 2, 100.1) == 1
    assert _allowed(limits, 9, 200.0) == 3


def test_an_allowance_says_what_is_left_and_when_there_is_more():
    limits = RateLimits()
    first = limits.take("a", LIMIT, 0.0)
    assert (first.allowed, first.limit, first.remaining) == (True, 3, 2)
    assert first.reset_s == pytest.approx(0.1)
    limits.take("a", LIMIT, 0.0)
    assert limits.take("a", LIMIT, 0.0).remaining == 0
    refused = limits.take("a", LIMIT, 0.04)
    assert not refused.allowed
    assert refused.retry_after_s == pytest.approx(0.06)
    assert refused.reset_s == pytest.approx(0.26)
    assert limits.take("a", LIMIT, 0.04 + refused.retry_after_s).allowed


def test_keys_have_a_bucket_each():
    limits = RateLimits()
    assert [_allowed(limits, 4, 0.0, key) for key in "ab"] == [3, 3]


def test_keys_that_owe_nothing_are_not_kept_where_there_are_too_many():
    limits = RateLimits(most_keys=10)
    for number in range(1000):
        limits.take(str(number), LIMIT, now_s=float(number))
        assert len(limits) <= 10


def test_where_all_owe_those_that_asked_least_lately_are_forgiven():
    limits = RateLimits(most_keys=10)
    for number in range(11):
        _allowed(limits, 3, 0.0, str(number))
    assert len(limits) <= 10
    assert _allowed(limits, 1, 0.0, "10") == 0
    assert _allowed(limits, 1, 0.0, "0") == 1


def test_what_other_replicas_let_in_counts_and_what_was_taken_meanwhile_is_not_lost():
    limits = RateLimits()
    assert _allowed(limits, 1, 0.0) == 1
    assert limits.taken() == {"a": pytest.approx(0.1)}
    assert _allowed(limits, 1, 0.0) == 1
    limits.owes("a", 0.2, 0.0)  # another replica's request and our first
    assert _allowed(limits, 1, 0.0) == 0
    assert limits.taken() == {"a": pytest.approx(0.1)}
    assert limits.taken() == {}
