"""Who waits for a better moment gets turns by priority, gives up in time, and holds up nobody who comes after."""

import asyncio
import time
from functools import partial

import pytest

from services.prism.waiting_room import BETWEEN_ROUNDS_S, MOST_REFUSED, MOST_WAITING, WaitingRoom
from tests.servers import eventually

LONG_S = 10.0


class Door:
    """What those who wait knock at: it opens when it is told to, and notes who came."""

    def __init__(self, room: WaitingRoom) -> None:
        self.came: list[str] = []
        self.opens = asyncio.Event()
        self._room = room

    def hold(self, name: str, priority: int = 0) -> "asyncio.Task[str | None]":
        """Have somebody wait."""
        return asyncio.create_task(self.hold_here(name, priority))

    async def hold_here(self, name: str, priority: int = 0, for_s: float = LONG_S) -> str | None:
        """Wait."""

        async def attempt() -> str | None:
            self.came.append(name)
            await self.opens.wait()
            return name

        return await self._room.hold(attempt, priority, time.monotonic() + for_s, time.monotonic)


async def stand_in_line(room: WaitingRoom, count: int) -> None:
    await eventually(lambda: len(room._line) == count)


@pytest.fixture
def room() -> WaitingRoom:
    return WaitingRoom()


async def test_an_attempt_is_made_again_and_again_until_one_comes_to_something(room: WaitingRoom) -> None:
    outcomes = [None, None, "at last"]

    async def attempt() -> str | None:
        return outcomes.pop(0)

    assert await room.hold(attempt, 0, time.monotonic() + LONG_S, time.monotonic) == "at last"
    assert not outcomes


async def test_those_of_higher_priority_go_first_and_equals_in_order_of_arrival(room: WaitingRoom) -> None:
    door = Door(room)
    held = [door.hold("first")]
    await eventually(lambda: door.came == ["first"])
    waiting = (("low", -1), ("a", 0), ("high", 5), ("b", 0), ("higher", 6))
    held += [door.hold(name, priority) for name, priority in waiting]
    await stand_in_line(room, len(waiting))
    door.opens.set()
    assert await asyncio.gather(*held) == ["first", "low", "a", "high", "b", "higher"]
    assert door.came == ["first", "higher", "high", "a", "b", "low"]


async def test_who_has_waited_long_enough_gives_up(room: WaitingRoom) -> None:
    attempts = 0

    async def attempt() -> str | None:
        nonlocal attempts
        attempts += 1
        return None

    began_s = time.monotonic()
    assert await room.hold(attempt, 0, began_s + 1.0, time.monotonic) is None
    assert 1.0 <= time.monotonic() - began_s < LONG_S
    assert attempts >= 2


async def test_who_has_no_time_left_makes_no_attempt(room: WaitingRoom) -> None:
    door = Door(room)
    assert await door.hold_here("late", for_s=0.0) is None
    assert door.came == []


async def test_more_than_there_is_room_for_are_answered_at_once(room: WaitingRoom) -> None:
    door = Door(room)
    held = [door.hold(str(number)) for number in range(MOST_WAITING)]
    await asyncio.sleep(0)
    assert await door.hold("one too many") is None
    door.opens.set()
    assert None not in await asyncio.gather(*held)
    assert await door.hold("there is room again") == "there is room again"


async def test_however_many_wait_a_round_ends_after_a_few_who_came_in_vain(room: WaitingRoom) -> None:
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1

    began_s = time.monotonic()
    until_s = began_s + LONG_S
    async with asyncio.TaskGroup() as group:
        held = [
            group.create_task(room.hold(attempt, number % 3, until_s, time.monotonic)) for number in range(MOST_WAITING)
        ]
        await eventually(lambda: attempts >= 3 * MOST_REFUSED)
        rounds = (time.monotonic() - began_s) / BETWEEN_ROUNDS_S
        for task in held:
            task.cancel()
    assert attempts <= MOST_REFUSED * rounds


async def test_nobody_is_shut_out_by_higher_ones_who_come_in_vain(room: WaitingRoom) -> None:
    asked: list[int] = []

    async def in_vain(number: int) -> None:
        asked.append(number)

    async def in_time() -> str:
        return "served"

    until_s = time.monotonic() + LONG_S
    others = [
        asyncio.create_task(room.hold(partial(in_vain, number), 9 - number, until_s, time.monotonic))
        for number in range(2 * MOST_REFUSED)
    ]
    assert await room.hold(in_time, 0, until_s, time.monotonic) == "served"
    await eventually(lambda: len(set(asked)) == len(others))
    assert asked.count(0) == max(asked.count(number) for number in asked), "the highest are asked most often"
    for other in others:
        other.cancel()


@pytest.mark.parametrize("leaves", ["first", "a", "b"])
async def test_who_leaves_holds_up_nobody(room: WaitingRoom, leaves: str) -> None:
    """Whether it is its turn or it stands in line."""
    door = Door(room)
    held = {"first": door.hold("first")}
    await eventually(lambda: door.came == ["first"])
    held |= {name: door.hold(name) for name in ("a", "b")}
    await stand_in_line(room, 2)
    held.pop(leaves).cancel()
    door.opens.set()
    assert await asyncio.wait_for(asyncio.gather(*held.values()), LONG_S) == list(held)


async def test_who_leaves_at_the_moment_of_being_called_passes_its_turn_on(room: WaitingRoom) -> None:
    door = Door(room)
    waiting: list[asyncio.Task[str | None]] = []

    async def first() -> None:
        await door.hold_here("first")
        waiting[0].cancel()  # called, but it has not heard yet

    going = asyncio.create_task(first())
    await eventually(lambda: door.came == ["first"])
    waiting += [door.hold("called", priority=1), door.hold("other")]
    await stand_in_line(room, 2)
    door.opens.set()
    await going
    assert await asyncio.wait_for(waiting[1], LONG_S) == "other"
    assert waiting[0].cancelled()
    assert door.came == ["first", "other"]


async def test_an_attempt_that_fails_is_the_end_for_one_and_not_for_others(room: WaitingRoom) -> None:
    async def failing() -> str | None:
        raise ValueError("no")

    door = Door(room)
    door.opens.set()
    other = door.hold("other")
    with pytest.raises(ValueError, match="no"):
        await room.hold(failing, 9, time.monotonic() + LONG_S, time.monotonic)
    assert await asyncio.wait_for(other, LONG_S) == "other"
