"""A new version of all of ours but engines, which also writes messages by the next schema, comes under load, and goes again: nobody who asks notices."""

import asyncio
import json
from collections.abc import Iterator

import pytest

from shared.names import engine_key, forecast_key
from tests.compose.breaking import assert_all_answered, broken
from tests.compose.load import Fault
from tests.compose.system import ComposeSystem

NEXT = "next"
LENSES = ("lens-h100", "lens-a6000")
BY_NEXT_SCHEMA = (
    r"sed -i 's/^SCHEMA_VERSION = 1$/SCHEMA_VERSION = 2/; s/^    v: int = SCHEMA_VERSION$/&\n    added: str = \"new\"/' shared/wire.py",
    'python3 -c \'from shared.wire import *; assert encode(Message()) == b"{\\"v\\":2,\\"added\\":\\"new\\"}"\'',
)
"""Run in an image, these make its messages carry the next version and a new field; it reads those of the one before, as any version does."""


@pytest.fixture
def next_version(system: ComposeSystem) -> Iterator[str]:
    services = ("prism", "forecaster", *LENSES)
    for service in services:
        system.derive(service, NEXT, BY_NEXT_SCHEMA)
    yield NEXT
    for service in services:
        if any(c.attrs["Config"]["Image"].endswith(f":{NEXT}") for c in system.containers(service)):
            system.replace(service)  # a test has ended halfway
        system.untag(service, NEXT)


async def test_a_new_version_with_the_next_schema_is_rolled_out_and_back_without_one_failed_request(
    system: ComposeSystem, chaos: list[Fault], next_version: str
) -> None:
    """Those who read go first, since no version can read the one after it; on the way back they go last."""

    async def roll_out(system: ComposeSystem) -> None:
        await asyncio.to_thread(system.relieve, "prism", next_version)
        for service in ("forecaster", *LENSES):
            await asyncio.to_thread(system.replace, service, next_version)

    async def roll_back(system: ComposeSystem) -> None:
        for service in (*LENSES, "forecaster"):
            await asyncio.to_thread(system.replace, service)
        await asyncio.to_thread(system.relieve, "prism")

    fault = "prism, forecaster and lenses replaced one by one by a version with the next schema"
    assert_all_answered(await broken(system, chaos, fault, roll_out))
    assert schemas(system) == {2}
    assert_all_answered(await broken(system, chaos, fault + ", and back", roll_back, forgets=True))
    assert schemas(system) == {1}


def schemas(system: ComposeSystem) -> set[int]:
    """By which what lenses and forecaster have written last is."""
    written = [system.look("get", key(engine)) for engine in system.engines for key in (engine_key, forecast_key)]
    return {json.loads(value)["v"] for value in written}
