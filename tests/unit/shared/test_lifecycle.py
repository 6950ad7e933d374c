"""What runs beside a body ends with it, and it with them, whatever a library makes of a cancellation."""

import asyncio

import pytest

from shared import lifecycle
from shared.lifecycle import background


class _Fault(Exception):
    pass


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(lifecycle, "CANCEL_AGAIN_S", 0.01)


async def _asks_for_ever(answers: list[asyncio.Future[None]]) -> None:
    """Another answer after each: one that comes with the cancellation makes `wait_for` lose it in Python 3.11."""
    while True:
        answers.append(asyncio.get_running_loop().create_future())
        await asyncio.wait_for(answers[-1], 60.0)


async def _fails_as_it_answers(answers: list[asyncio.Future[None]]) -> None:
    await asyncio.sleep(0.0)
    answers[-1].set_result(None)
    raise _Fault


async def _beside_a_body(answers: list[asyncio.Future[None]]) -> None:
    async with background(_asks_for_ever(answers), _fails_as_it_answers(answers)):
        await asyncio.Event().wait()


async def _within_a_body(answers: list[asyncio.Future[None]]) -> None:
    async with background(_fails_as_it_answers(answers)):
        await _asks_for_ever(answers)


@pytest.mark.parametrize("asked", [_beside_a_body, _within_a_body])
async def test_a_fault_ends_what_lost_its_cancellation(asked):
    task = asyncio.create_task(asked([]))
    ended, _ = await asyncio.wait((task,), timeout=10.0)
    assert ended, "goes on without what it relies on"
    failure = task.exception()
    assert isinstance(failure, ExceptionGroup)
    assert [type(error) for error in failure.exceptions] == [_Fault]
    assert not task.cancelling()


async def test_after_the_body_what_lost_its_cancellation_is_cancelled_again():
    answers: list[asyncio.Future[None]] = []
    async with asyncio.timeout(10.0):
        async with background(_asks_for_ever(answers)):
            await asyncio.sleep(0.0)
            answers[-1].set_result(None)


async def test_a_body_that_is_cancelled_from_outside_ends_cancelled_and_its_background_with_it():
    ended = asyncio.Event()

    async def beside() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def body() -> None:
        async with background(beside()):
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await asyncio.sleep(0.0)
    await asyncio.sleep(0.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()
