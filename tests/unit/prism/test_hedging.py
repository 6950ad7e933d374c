"""Two are asked at most, one answers, and of the other nothing is left."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from services.prism.hedging import hedged
from tests.servers import eventually

LATE_S = 0.01
NEVER_LATE_S = 30.0


class Engine:
    """Gives its name when told to; knows whether it is still in use."""

    def __init__(self, name: str, *, answers: bool = False, problem: Exception | None = None) -> None:
        self.name = name
        self.problem = problem
        self.asked = self.in_use = False
        self.thrown: BaseException | None = None
        self._told = asyncio.Event()
        if answers:
            self._told.set()

    def tell(self) -> None:
        self._told.set()

    @contextlib.asynccontextmanager
    async def answer(self) -> AsyncIterator[str]:
        self.asked = self.in_use = True
        try:
            await self._told.wait()
            self._fail()
            yield self.name
        except BaseException as error:
            self.thrown = error
            raise
        finally:
            self.in_use = False

    def _fail(self) -> None:
        if self.problem is not None:
            raise self.problem

    async def second(self) -> contextlib.AbstractAsyncContextManager[str]:
        return self.answer()


async def test_a_first_engine_in_time_is_alone() -> None:
    first, second = Engine("first", answers=True), Engine("second", answers=True)
    async with hedged(first.answer(), NEVER_LATE_S, second.second) as name:
        assert (name, first.in_use) == ("first", True)
    assert not first.in_use
    assert not second.asked


async def test_the_second_answers_for_a_late_first_which_is_cancelled_before_the_answer_is_used() -> None:
    first, second = Engine("first"), Engine("second", answers=True)
    async with hedged(first.answer(), LATE_S, second.second) as name:
        assert name == "second"
        assert (first.asked, first.in_use, second.in_use) == (True, False, True)
    assert isinstance(first.thrown, asyncio.CancelledError)
    assert not second.in_use


async def test_a_late_first_may_still_win() -> None:
    first, second = Engine("first"), Engine("second")
    async with asyncio.timeout(5):
        answering = asyncio.create_task(_name(first, second))
        await eventually(lambda: second.asked)
        first.tell()
        assert await answering == "first"
    assert not second.in_use


async def test_both_that_answer_at_once_are_left() -> None:
    first, second = Engine("first"), Engine("second")
    answering = asyncio.create_task(_name(first, second))
    await eventually(lambda: second.asked)
    first.tell()
    second.tell()
    assert await answering in ("first", "second")
    assert (first.in_use, second.in_use) == (False, False)


async def test_where_nobody_else_can_answer_the_first_is_waited_for() -> None:
    first = Engine("first")

    async def nobody() -> None:
        first.tell()

    async with hedged(first.answer(), LATE_S, nobody) as name:
        assert name == "first"


@pytest.mark.parametrize("failing", ["first", "second"])
async def test_one_that_fails_leaves_it_to_the_other(failing: str) -> None:
    engines = {name: Engine(name, problem=OSError() if name == failing else None) for name in ("first", "second")}
    answering = asyncio.create_task(_name(engines["first"], engines["second"]))
    await eventually(lambda: engines["second"].asked)
    engines.pop(failing).tell()
    [(name, other)] = engines.items()
    other.tell()
    assert await answering == name


async def test_where_both_fail_the_last_failure_is_the_answer() -> None:
    first, second = Engine("first", problem=OSError("one")), Engine("second", answers=True, problem=OSError("two"))
    answering = asyncio.create_task(_name(first, second))
    await eventually(lambda: second.thrown)
    first.tell()
    with pytest.raises(OSError, match="one"):
        await answering


async def test_a_first_that_fails_in_time_is_not_hedged() -> None:
    first, second = Engine("first", answers=True, problem=OSError("one")), Engine("second")
    with pytest.raises(OSError, match="one"):
        async with hedged(first.answer(), NEVER_LATE_S, second.second):
            pass
    assert not second.asked


async def test_a_client_that_leaves_takes_both_requests_along() -> None:
    first, second = Engine("first"), Engine("second")
    answering = asyncio.create_task(_name(first, second))
    await eventually(lambda: second.asked)
    answering.cancel()
    await asyncio.wait((answering,))
    assert (first.in_use, second.in_use) == (False, False)


async def test_what_befalls_the_answer_is_told_to_the_engine_that_gives_it() -> None:
    first = Engine("first", answers=True)
    with pytest.raises(OSError, match="broke off"):
        async with hedged(first.answer(), NEVER_LATE_S, Engine("second").second):
            raise OSError("broke off")
    assert isinstance(first.thrown, OSError)


async def _name(first: Engine, second: Engine) -> str:
    async with hedged(first.answer(), LATE_S, second.second) as name:
        return name


async def test_a_first_that_answers_while_a_second_is_looked_for_is_not_kept_waiting() -> None:
    first, gone = Engine("first"), asyncio.Event()

    async def looks_for_ever() -> None:
        first.tell()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    async with asyncio.timeout(5), hedged(first.answer(), LATE_S, looks_for_ever) as name:
        assert (name, gone.is_set()) == ("first", True)


async def test_a_first_that_fails_while_nobody_else_is_found_is_the_failure() -> None:
    first = Engine("first", problem=OSError("one"))

    async def nobody() -> None:
        first.tell()
        await eventually(lambda: first.thrown)

    with pytest.raises(OSError, match="one"):
        async with hedged(first.answer(), LATE_S, nobody):
            pass


async def test_a_loser_that_had_answered_is_left_though_the_client_leaves_just_then() -> None:
    for ticks in range(12):
        assert await _left_in_use(ticks) == (False, False), ticks


async def _left_in_use(ticks: int) -> tuple[bool, bool]:
    """Which of two engines, that answer at once, are in use after their client has left so many turns of the loop later."""
    first, second = Engine("first"), Engine("second")
    answering = asyncio.create_task(_name(first, second))
    await eventually(lambda: second.asked)
    first.tell()
    second.tell()
    for _ in range(ticks):
        await asyncio.sleep(0)
    answering.cancel()
    await asyncio.wait((answering,))
    return first.in_use, second.in_use
