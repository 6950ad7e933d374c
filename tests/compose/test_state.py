"""What was learned is kept, or put back, whatever becomes of Redis; and telemetry that fills its store costs nobody an answer."""

import asyncio
from collections.abc import Mapping

from shared.names import TELEMETRY_STREAM
from tests.compose.breaking import RECOVERED_WITHIN_S, assert_all_answered, broken
from tests.compose.load import Fault
from tests.compose.system import ComposeSystem
from tests.servers import eventually_sync

FILL = """
import asyncio, nats

async def main():
    url = open("/run/credentials/nats_url").read()
    client = await nats.connect(url)
    for place in range(24):
        await client.publish("synergy.v1.telemetry.poison", bytes(1_000_000))
        await client.flush()
    await client.close()

asyncio.run(main())
"""
"""Three times what the stream may keep, of what nobody can read."""


def learned_by_now(system: ComposeSystem) -> Mapping[str, int]:
    learned = {name: system.steps_learned(name) for name in system.engines}
    assert all(learned.values()), learned
    return learned


async def knows_as_much(system: ComposeSystem, learned: Mapping[str, int]) -> None:
    def all_do() -> bool:
        return all(system.steps_learned(name) >= steps for name, steps in learned.items())

    await asyncio.to_thread(eventually_sync, all_do, RECOVERED_WITHIN_S)


async def test_redis_restarted_with_its_volume_knows_what_was_learned(
    system: ComposeSystem, chaos: list[Fault]
) -> None:
    async def restart(system: ComposeSystem) -> None:
        learned = learned_by_now(system)
        await asyncio.to_thread(system.compose, "restart", "redis")
        await knows_as_much(system, learned)

    running = await broken(system, chaos, "redis restarted", restart)
    assert_all_answered(running)


async def test_redis_without_its_volume_is_told_again_by_those_who_know(
    system: ComposeSystem, chaos: list[Fault]
) -> None:
    async def lose(system: ComposeSystem) -> None:
        learned = learned_by_now(system)
        await asyncio.to_thread(system.lose_volume, "redis", "redis-data")
        await knows_as_much(system, learned)

    running = await broken(system, chaos, "redis without its volume", lose)
    assert_all_answered(running)


async def test_telemetry_that_fills_its_store_costs_nobody_an_answer_and_learning_goes_on(
    system: ComposeSystem, chaos: list[Fault]
) -> None:
    async def fill(system: ComposeSystem) -> None:
        learned = learned_by_now(system)
        await asyncio.to_thread(system.exec, "lens-h100", "python3", "-c", FILL)
        await knows_as_much(system, {name: steps + 1 for name, steps in learned.items()})

    running = await broken(system, chaos, f"{TELEMETRY_STREAM} full", fill)
    assert_all_answered(running)
