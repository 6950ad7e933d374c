import pytest

from services.lens.budget import prefill_budget_tokens
from shared.steptime import StepShape
from tests.unit.lens.builders import model

NO_DECODES = StepShape(0, 0)


def budget(decodes: StepShape = NO_DECODES, *, target_s: float = 0.05, most: int = 1000, least: int = 1) -> int:
    return prefill_budget_tokens(
        model(), decodes, target_s=target_s, most_tokens=most, least_tokens=least, cached_tokens=0
    )


def test_the_step_is_filled_up_to_the_target():
    assert budget() == 40  # 10 ms + 40 · 1 ms


def test_decodes_take_their_share_first():
    assert budget(StepShape(10, 10)) == 30


def test_the_engine_bounds_the_step_however_fast_it_is():
    assert budget(most=8) == 8


def test_prefill_gets_on_even_where_decodes_alone_exceed_the_target():
    assert budget(StepShape(100, 100), least=5) == 5


def test_no_room_gives_no_chunk():
    assert budget(most=0, least=5) == 0


@pytest.mark.parametrize("target_s", [0.0, 0.011, 0.0499, 0.0501, 10.0])
def test_the_chunk_is_the_largest_that_fits(target_s: float):
    tokens = budget(target_s=target_s)
    fits = [n for n in range(1, 1001) if model().step_time_s(StepShape(1, n)) <= target_s]
    assert tokens == max(fits, default=1)
