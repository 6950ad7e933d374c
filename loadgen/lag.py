"""How busy the load generator's own machine is: by how much its event loop is late, and the processor time it takes."""

import asyncio
import time
from array import array
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

PERIOD_S = 0.01


class OwnLoad(msgspec.Struct, frozen=True):
    """What the generator was itself under."""

    lag_p99_s: float
    """By how much its event loop was late: text is seen so much later than it came."""
    lag_worst_s: float
    processor_share: float
    """Processor seconds a second; near 1 it could not do more."""


class LagMeter:
    """Measures while its context is open."""

    def __init__(self) -> None:
        self._lags_s = array("f")
        self._task: asyncio.Task[None] | None = None
        self._began = (0.0, 0.0)

    async def __aenter__(self) -> Self:
        self._began = (time.monotonic(), time.process_time())
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()

    def read(self) -> OwnLoad:
        """What has been measured so far."""
        began_s, began_processor_s = self._began
        processor_s = time.process_time() - began_processor_s
        elapsed_s = max(time.monotonic() - began_s, PERIOD_S)
        lags_s = np.array(self._lags_s or (0.0,))
        return OwnLoad(float(np.percentile(lags_s, 99)), float(lags_s.max()), processor_s / elapsed_s)

    async def _measure(self) -> None:
        while True:
            due_at_s = time.monotonic() + PERIOD_S
            await asyncio.sleep(PERIOD_S)
            self._lags_s.append(max(time.monotonic() - due_at_s, 0.0))
