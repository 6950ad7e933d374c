from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.unit.lens.rig import Rig


@pytest.fixture
async def rig() -> Rig:
    return Rig()


@pytest.fixture
async def client(rig: Rig) -> AsyncIterator[aiohttp.ClientSession]:
    async with rig.served() as session:
        yield session
