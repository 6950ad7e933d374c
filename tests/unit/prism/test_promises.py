"""What becomes of promises, and when it is known."""

import math
import weakref

import pytest

from services.prism.promises import WATCHED_S, Promises

HALF = 0.5


def told(promises: Promises, *, model_known: bool = True) -> float:
    return promises.told(HALF, model_known=model_known)


def make(promises: Promises, due_s: float = math.inf, *, has_begun: bool = False, model_known: bool = True):
    return promises.make(HALF, 0.0, model_known=model_known, first_token_due_s=due_s, has_begun=lambda: has_begun)


@pytest.mark.parametrize("kept", [True, False])
def test_what_is_settled_is_learned_and_only_once(kept: bool) -> None:
    promises = Promises()
    promise = make(promises)
    promises.settle(promise, kept)
    once = told(promises)
    assert (once > HALF) is kept
    promises.settle(promise, not kept)
    assert told(promises) == once


def test_of_what_nobody_will_know_nothing_is_learned() -> None:
    promises = Promises()
    promise = make(promises, due_s=1.0)
    promises.settle(promise, None)
    promises.look(9.0)
    assert told(promises) == pytest.approx(HALF)


def test_a_promise_is_broken_as_soon_as_its_first_token_is_overdue() -> None:
    promises = Promises()
    late = make(promises, due_s=1.0)
    promises.look(1.0)
    assert told(promises) == pytest.approx(HALF)
    promises.look(1.01)
    broken = told(promises)
    assert broken < HALF
    promises.settle(late, kept=False)  # at the end of its answer
    assert told(promises) == broken


def test_one_that_has_begun_in_time_is_kept_or_not_by_its_end() -> None:
    promises = Promises()
    begun = make(promises, due_s=1.0, has_begun=True)
    promises.look(2.0)
    assert told(promises) == pytest.approx(HALF)
    promises.settle(begun, kept=True)
    assert told(promises) > HALF


def test_what_is_presumed_of_unknown_engines_is_judged_by_itself() -> None:
    promises = Promises()
    for _ in range(50):
        promises.settle(make(promises, model_known=False), kept=True)
    assert told(promises, model_known=False) > 0.9
    assert told(promises) == pytest.approx(HALF)


def test_what_is_settled_keeps_nothing_of_its_request() -> None:
    class Account:
        pass

    promises, account = Promises(), Account()
    gone = weakref.ref(account)

    def has_begun(account: Account = account) -> bool:
        return account is None

    promise = promises.make(HALF, 0.0, model_known=True, first_token_due_s=WATCHED_S, has_begun=has_begun)
    promises.settle(promise, kept=True)
    del account, has_begun
    assert gone() is None


def test_nobody_is_waited_for_longer_than_a_minute() -> None:
    promises = Promises()
    make(promises, due_s=WATCHED_S + 1.0)
    promises.look(1e9)
    assert told(promises) == pytest.approx(HALF)
