"""Whatever comes and fails, retries stay within their share of the requests."""

from hypothesis import given
from hypothesis import strategies as st

from services.prism.retry_budget import WINDOW_S, RetryBudget

gaps_s = st.one_of(st.just(0.0), st.floats(0.0, 2.0), st.floats(0.0, 50.0))
events = st.lists(st.tuples(gaps_s, st.booleans()), max_size=300)


@given(events=events, share=st.floats(0.0, 1.0), floor=st.floats(0.0, 5.0))
def test_retries_never_exceed_the_share_and_the_floor(
    events: list[tuple[float, bool]], share: float, floor: float
) -> None:
    budget, now_s = RetryBudget(share, floor), 0.0
    requests = retries = 0
    for gap_s, is_request in events:
        now_s += gap_s
        if is_request:
            budget.earn(now_s)
            requests += 1
        else:
            retries += budget.spend(now_s)
        assert budget.left(now_s) >= -1e-9
        assert retries <= share * requests + floor * (1.0 + now_s / WINDOW_S) + 1e-6


@given(share=st.floats(0.05, 1.0), failing=st.floats(0.0, 1.0))
def test_failures_rarer_than_the_share_are_all_sent_again(share: float, failing: float) -> None:
    budget, owed = RetryBudget(share, floor=1.0), 0.0
    for number in range(500):
        now_s = number / 50
        budget.earn(now_s)
        owed += failing * share
        if owed >= 1.0:
            owed -= 1.0
            assert budget.spend(now_s)


def test_a_replica_without_traffic_has_its_floor_again_after_a_while() -> None:
    budget = RetryBudget(share=0.2, floor=2.0)
    assert [budget.spend(0.0) for _ in range(3)] == [True, True, False]
    assert budget.spend(WINDOW_S)
    assert not budget.spend(WINDOW_S)
