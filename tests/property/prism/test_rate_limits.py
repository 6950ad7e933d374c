"""Whenever requests come, no more of them are let in than a burst and the rate allow, and no fewer."""

from hypothesis import given
from hypothesis import strategies as st

from services.prism.grants import RateLimit
from services.prism.rate_limits import RateLimits

limits = st.builds(RateLimit, st.floats(0.1, 1000), st.integers(1, 50))


@given(limit=limits, gaps_s=st.lists(st.floats(0, 2), max_size=80))
def test_no_span_of_time_has_more_than_a_burst_and_its_rate(limit: RateLimit, gaps_s: list[float]) -> None:
    buckets, now_s, let_in_at_s = RateLimits(), 0.0, list[float]()
    for gap_s in gaps_s:
        now_s += gap_s
        allowance = buckets.take("a", limit, now_s)
        assert 0 <= allowance.remaining < limit.burst
        if allowance.allowed:
            let_in_at_s.append(now_s)
        else:
            assert allowance.remaining == 0
            assert allowance.retry_after_s > 0
    for first, began_at_s in enumerate(let_in_at_s):
        for last in range(first, len(let_in_at_s)):
            most = limit.burst + (let_in_at_s[last] - began_at_s) * limit.requests_per_s
            assert last - first + 1 <= most + 0.01


@given(limit=limits, spent=st.integers(0, 60))
def test_a_refused_request_is_let_in_when_it_was_told_to_come_again(limit: RateLimit, spent: int) -> None:
    buckets = RateLimits()
    for _ in range(spent):
        buckets.take("a", limit, 0.0)
    allowance = buckets.take("a", limit, 0.0)
    assert allowance.allowed == (spent < limit.burst)
    assert allowance.allowed or buckets.take("a", limit, allowance.retry_after_s).allowed
