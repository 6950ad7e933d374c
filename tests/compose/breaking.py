"""Something breaks, or is changed, under load: what requests met, how soon all was well, and the line of the table."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from tests.compose.load import End, Fault, Load, fault_row, load, several, until_well
from tests.compose.system import ComposeSystem
from tests.servers import eventually_sync

RECOVERED_WITHIN_S = 15.0
SCALED_WITHIN_S = 60.0
AWAY_S = 6.0
"""For so long is somebody paused, or cut off: twice as long as an engine's key lives."""

Break = Callable[[ComposeSystem], Awaitable[None]]


async def broken(
    system: ComposeSystem,
    chaos: list[Fault],
    fault: str,
    act: Break,
    *,
    mended: Break | None = None,
    forgets: bool = False,
) -> Load:
    """What load met while something broke; recovery counts from when it broke, or from when it was mended.

    Args:
        forgets: what was learned has to be learned anew.
    """
    async with load(system.url) as running:
        await until_well(running, time.monotonic(), SCALED_WITHIN_S)
        learned = {} if forgets else await asyncio.to_thread(learned_by_now, system)
        since_s = time.monotonic()
        try:
            await act(system)
            over_s = time.monotonic()
            if mended is not None:
                await asyncio.sleep(AWAY_S)
        finally:
            if mended is not None:
                since_s = over_s = time.monotonic()
                await mended(system)
        await asyncio.to_thread(system.well)
        healthy_s = time.monotonic() - over_s
        recovery_s = max(healthy_s, await until_well(running, since_s, 3 * RECOVERED_WITHIN_S))
    chaos.append(fault_row(fault, running, recovery_s))
    assert recovery_s <= RECOVERED_WITHIN_S
    assert End.HUNG not in {ended.end for ended in running.ended}
    await asyncio.to_thread(knows_as_much, system, learned)
    await asyncio.to_thread(all_serve_and_are_learned, system)
    return running


def assert_all_answered(running: Load) -> None:
    assert {ended.end for ended in running.ended} == {End.ANSWERED}, {ended.told for ended in running.ended}


def learned_by_now(system: ComposeSystem) -> Mapping[str, int]:
    """Steps, by engine; of each there are some."""
    learned: dict[str, int] = {}

    def has_all() -> bool:
        learned.update((engine, system.steps_learned(engine)) for engine in system.engines)
        return all(learned.values())

    eventually_sync(has_all, RECOVERED_WITHIN_S)
    return learned


def knows_as_much(system: ComposeSystem, learned: Mapping[str, int]) -> None:
    """Wait until of each engine at least so many steps are learned."""
    eventually_sync(
        lambda: all(system.steps_learned(engine) >= steps for engine, steps in learned.items()), RECOVERED_WITHIN_S
    )


def all_serve_and_are_learned(system: ComposeSystem) -> None:
    """Each engine by itself: the other's answers alone would do for a client."""
    for engine in system.engines:
        eventually_sync(partial(_serves, system, engine), RECOVERED_WITHIN_S)
        wait_for_more(partial(_learned, system, engine))


def wait_for_more(counted: Callable[[], float]) -> None:
    """Until it counts more than now."""
    before = counted()
    eventually_sync(lambda: counted() > before, RECOVERED_WITHIN_S)


def _serves(system: ComposeSystem, engine: str) -> bool:
    """Whether one of a few requests at once is answered by this engine."""
    return engine in {served_by for served_by in several(system.url) if served_by is not None}


def _learned(system: ComposeSystem, engine: str) -> int:
    _serves(system, engine)
    return system.steps_learned(engine)
