"""More replicas and fewer, under load: nobody who asks notices."""

import asyncio
import re
from functools import partial

from shared.names import FORECASTERS_KEY
from tests.compose.breaking import (
    RECOVERED_WITHIN_S,
    all_serve_and_are_learned,
    assert_all_answered,
    broken,
    wait_for_more,
)
from tests.compose.load import Fault
from tests.compose.system import ComposeSystem
from tests.servers import eventually_sync


def requests_seen(system: ComposeSystem, container: str) -> float:
    """How many requests this replica of prism has answered since it started."""
    text = system.exec_in(
        container,
        "python3",
        "-c",
        "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8000/metrics').read().decode())",
    )
    return sum(float(count) for count in re.findall(r"^prism_requests_total\{.*\} (\S+)$", text, re.MULTILINE))


async def test_routers_are_scaled_under_load_without_one_failed_request_and_each_has_its_part(
    system: ComposeSystem, chaos: list[Fault]
) -> None:
    async def scale(system: ComposeSystem) -> None:
        for replicas in (4, 2, 1):
            await asyncio.to_thread(system.up, "--scale", f"prism={replicas}", "--no-recreate")
            names = [container.name for container in system.containers("prism")]
            assert len(names) == replicas
            for name in names:  # the front has found each of them by itself
                await asyncio.to_thread(wait_for_more, partial(requests_seen, system, name))

    assert_all_answered(await broken(system, chaos, "prism scaled to 4, 2, 1", scale))


async def test_forecasters_share_the_engines_and_go_on_for_one_that_leaves(
    system: ComposeSystem, chaos: list[Fault]
) -> None:
    def are_members(replicas: int) -> bool:
        return int(system.look("zcard", FORECASTERS_KEY)) == replicas

    async def scale(system: ComposeSystem) -> None:
        for replicas in (2, 1):
            await asyncio.to_thread(system.up, "--scale", f"forecaster={replicas}", "--no-recreate")
            await asyncio.to_thread(eventually_sync, partial(are_members, replicas), RECOVERED_WITHIN_S)
            await asyncio.to_thread(all_serve_and_are_learned, system)

    assert_all_answered(await broken(system, chaos, "forecaster scaled to 2, 1", scale))
