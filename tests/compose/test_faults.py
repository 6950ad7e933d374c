"""Whatever breaks under load, each request ends once, all is well within 15 s, and nothing that was learned is lost."""

import asyncio
import signal

import pytest

from tests.compose.breaking import assert_all_answered, broken
from tests.compose.load import Fault
from tests.compose.system import ComposeSystem


@pytest.mark.parametrize(
    "service", ["engine-h100", "lens-h100", "forecaster", "nats", "redis", "prism", "front", "prometheus"]
)
async def test_who_is_killed_under_load_comes_back_and_takes_nothing_along_but_what_it_had_begun(
    system: ComposeSystem, chaos: list[Fault], service: str
) -> None:
    async def kill(system: ComposeSystem) -> None:
        await asyncio.to_thread(system.kill, service)

    running = await broken(system, chaos, f"{service} killed", kill)
    if service not in ("lens-h100", "prism", "front"):
        assert_all_answered(running)


async def test_an_engine_that_stands_still_is_passed_over_and_taken_back(
    system: ComposeSystem, chaos: list[Fault]
) -> None:
    async def stop(system: ComposeSystem) -> None:
        await asyncio.to_thread(system.send, "engine-h100", signal.SIGSTOP)

    async def go_on(system: ComposeSystem) -> None:
        await asyncio.to_thread(system.send, "engine-h100", signal.SIGCONT)

    await broken(system, chaos, "engine-h100 stands still", stop, mended=go_on)


@pytest.mark.parametrize(
    ("service", "other"), [("lens-h100", "nats"), ("lens-h100", "redis"), ("prism", "redis"), ("forecaster", "redis")]
)
async def test_who_is_cut_off_serves_on_or_is_passed_over(
    system: ComposeSystem, chaos: list[Fault], service: str, other: str
) -> None:
    async def cut(system: ComposeSystem) -> None:
        await asyncio.to_thread(system.cut, service, other)

    async def mend(system: ComposeSystem) -> None:
        await asyncio.to_thread(system.mend, service, other)

    running = await broken(system, chaos, f"{service} cut off from {other}", cut, mended=mend)
    assert_all_answered(running)
