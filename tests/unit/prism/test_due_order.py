"""Which of the prompts that wait are computed in time."""

import numpy as np
import pytest

from services.prism.due_order import BEGIN_S, EDGES_S, kept_tokens
from shared.engine_state import DUE_EDGES_S, DUE_INTERVALS
from tests.unit.prism.builders import by_due


@pytest.mark.parametrize(
    ("tokens", "kept"),
    [
        ((10,), (10,)),
        ((30,), (25,)),  # 100 a second
        ((10, 50), (10, 40)),
        ((30, 10), (25, 10)),
        ((0, 60), (0, 50)),
        ((30, 30, 200), (25, 25, 50)),
    ],
)
def test_what_is_due_earlier_is_computed_first_and_what_is_late_not_at_all(
    tokens: tuple[int, ...], kept: tuple[int, ...]
) -> None:
    given_tokens = np.array(by_due(*tokens, interval=0), np.float64)
    assert kept_tokens(given_tokens, 100.0).tolist() == list(by_due(*kept, interval=0))


def test_intervals_follow_one_another() -> None:
    assert (0.0, *DUE_EDGES_S) == BEGIN_S
    assert EDGES_S[:-1] == BEGIN_S[1:]
    assert len(EDGES_S) == DUE_INTERVALS
    assert all(begin_s < edge_s for begin_s, edge_s in zip(BEGIN_S, EDGES_S, strict=True))
