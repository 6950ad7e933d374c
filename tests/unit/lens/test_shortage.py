"""When the cache is full: who leaves, and who waits for a block."""

import pytest

from services.lens.sequence import Sequence
from services.lens.shortage import who_leaves, who_pauses
from shared.slo import Slo
from tests.unit.lens.builders import sequence


def due(due_s: float, priority: int = 0) -> Sequence:
    made = sequence(slo=Slo(ttft_s=due_s))
    made.priority = priority
    return made


def leaving(live: list[Sequence], short: list[Sequence], room_blocks: int = 0, blocks: int = 3) -> list[Sequence]:
    return who_leaves(live, set(short), room_blocks=room_blocks, blocks_of=lambda _: blocks)


def test_whoever_is_due_last_leaves():
    soon, last, middle = due(1), due(3), due(2)
    assert leaving([soon, last, middle], [soon]) == [last]


def test_nobody_leaves_where_those_who_left_already_make_room_enough():
    assert leaving([due(1), due(2)], [due(1)], room_blocks=1) == []


def test_a_lower_priority_leaves_before_a_later_deadline():
    first_class, second_class = due(9, priority=1), due(1)
    assert leaving([first_class, second_class], [first_class]) == [second_class]


def test_one_that_leaves_wants_no_block_itself():
    short = [due(1), due(2), due(3)]
    assert leaving(short, short, room_blocks=2, blocks=0) == [short[2]]


def test_somebody_always_stays():
    live = [due(1), due(2)]
    assert leaving(live, live, blocks=0) == [live[1]]


@pytest.mark.parametrize("free_blocks", [0, 1, 2, 3])
def test_those_due_last_pause_while_there_are_too_few_blocks(free_blocks):
    short = [due(3), due(1), due(2)]
    assert who_pauses(short, free_blocks=free_blocks) == set([short[1], short[2], short[0]][free_blocks:])


def test_an_answer_that_came_too_late_leaves_before_one_that_keeps_its_promise():
    late, kept = due(1), due(9)
    late.is_lost = True
    assert leaving([late, kept], [kept]) == [late]
