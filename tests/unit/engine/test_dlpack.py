"""Arrays lent through DLPack: numpy is the consumer here, Triton in the integration tests."""

import gc
from typing import Any

import numpy as np
import pytest

from services.engine import dlpack
from shared.tensors import Array


class Lender:
    """What numpy asks for a capsule."""

    def __init__(self, array: Array) -> None:
        self._array = array

    def __dlpack__(self, **_kwargs: Any) -> Any:
        return dlpack.capsule(self._array)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


ARRAYS: list[Array] = [
    np.arange(6, dtype=np.int64),
    np.arange(6, dtype=np.int32).reshape(2, 3),
    np.linspace(0, 1, 6, dtype=np.float32).reshape(3, 2),
    np.frombuffer(b"read-only", np.uint8),
    np.arange(12, dtype=np.int32).reshape(3, 4)[:, ::2],
    np.zeros((0,), np.int32),
    np.zeros((5, 0), np.float32),
    np.zeros((0, 7), np.int32),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_the_consumer_sees_the_same_array_and_gives_its_memory_back(array):
    lent_before = len(dlpack._lent)
    seen = np.from_dlpack(Lender(array))
    assert seen.dtype == array.dtype
    assert seen.shape == array.shape
    assert seen.tolist() == array.tolist()
    assert len(dlpack._lent) == lent_before + 1
    del seen
    gc.collect()
    assert len(dlpack._lent) == lent_before


def test_lent_memory_outlives_the_array():
    seen = np.from_dlpack(Lender(np.arange(100_000, dtype=np.int64)))
    gc.collect()
    assert seen.sum() == 99_999 * 50_000
