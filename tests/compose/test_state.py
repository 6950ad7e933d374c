"""What was learned is kept, or put back, whatever becomes of Redis; and telemetry that fills its store costs nobody an answer."""

import asyncio
import json

from shared.names import TELEMETRY_STREAM
from tests.compose.breaking import assert_all_answered, broken
from tests.compose.load import Fault
from tests.compose.system import TELEMETRY_MAX_BYTES, ComposeSystem

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
FULL = 0.8
"""Of it: a message less than what it may keep."""


def telemetry_bytes(system: ComposeSystem) -> int:
    """Which NATS keeps of it."""
    told = system.exec(
        "nats", "env", "-u", "http_proxy", "wget", "-q", "-O", "-", "http://127.0.0.1:8222/jsz?streams=true"
    )
    streams = [stream for account in json.loads(told)["account_details"] for stream in account["stream_detail"]]
    return sum(stream["state"]["bytes"] for stream in streams if stream["name"] == TELEMETRY_STREAM)


async def test_redis_restarted_with_its_volume_knows_what_was_learned(
    system: ComposeSystem, chaos: list[Fault]
) -> None:
    async def restart(system: ComposeSystem) -> None:
        await asyncio.to_thread(system.compose, "restart", "redis")

    running = await broken(system, chaos, "redis restarted", restart)
    assert_all_answered(running)


async def test_redis_without_its_volume_is_told_again_by_those_who_know(
    system: ComposeSystem, chaos: list[Fault]
) -> None:
    async def lose(system: ComposeSystem) -> None:
        await asyncio.to_thread(system.lose_volume, "redis", "redis-data")

    running = await broken(system, chaos, "redis without its volume", lose)
    assert_all_answered(running)


async def test_telemetry_that_fills_its_store_costs_nobody_an_answer_and_learning_goes_on(
    system: ComposeSystem, chaos: list[Fault]
) -> None:
    async def fill(system: ComposeSystem) -> None:
        await asyncio.to_thread(system.exec, "lens-h100", "python3", "-c", FILL)
        assert telemetry_bytes(system) > FULL * TELEMETRY_MAX_BYTES

    running = await broken(system, chaos, f"{TELEMETRY_STREAM} full", fill)
    assert_all_answered(running)
