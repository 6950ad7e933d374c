import asyncio
import time

from loadgen.lag import PERIOD_S, LagMeter


async def test_a_loop_that_was_held_up_shows() -> None:
    async with LagMeter() as meter:
        await asyncio.sleep(2 * PERIOD_S)
        time.sleep(0.1)  # noqa: ASYNC251 - what holds it up
        await asyncio.sleep(2 * PERIOD_S)
        own = meter.read()
    assert own.lag_worst_s > 0.08
    assert own.processor_share >= 0


async def test_nothing_measured_is_no_lag() -> None:
    async with LagMeter() as meter:
        own = meter.read()
    assert (own.lag_p99_s, own.lag_worst_s) == (0.0, 0.0)
