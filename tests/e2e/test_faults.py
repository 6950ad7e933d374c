"""Whatever dies under load, each request ends once: with an answer, or with an error that says so; and all is well again by itself."""

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from infra.native.ports import free_ports
from infra.native.system import NativeSystem
from tests.servers import eventually

EVENT_END = b"\n\n"
PROFILES = ("h100-llama3.1-8b", "a100-llama3.1-8b")
EACH_WITHIN_S = 30.0
RECOVERED_WITHIN_S = 30.0
AT_ONCE = 6
"""Requests that are always under way: half of them streams."""
UNDISTURBED = 20
"""Answers in a row that show that all is well."""
BODY = {"model": "Llama-3.1-8B", "prompt": "Hello " * 100, "max_tokens": 30}
PROPER_ERRORS = frozenset({429, 502, 503})


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeSystem]:
    with NativeSystem(tmp_path_factory.mktemp("faults"), free_ports(), profiles=PROFILES) as running:
        running.ready(within_s=120)
        yield running


async def ask(session: aiohttp.ClientSession, url: str, *, stream: bool) -> str:
    """How a request ended.

    Raises:
        AssertionError: it did not end as it should.
    """
    async with asyncio.timeout(EACH_WITHIN_S):
        async with session.post(f"{url}/v1/completions", json={**BODY, "stream": stream}) as response:
            data = await response.read()
    if response.status != 200:
        assert response.status in PROPER_ERRORS, data
        assert json.loads(data)["error"]["message"]
        return "refused"
    if not stream:
        assert json.loads(data)["choices"][0]["finish_reason"] == "length"
        return "answered"
    events = [event for event in data.split(EVENT_END) if event.startswith(b"data: ")]
    if events[-1] == b"data: [DONE]":
        return "answered"
    assert json.loads(events[-1].removeprefix(b"data: "))["error"]["message"]
    return "broken off"


@contextlib.asynccontextmanager
async def load(url: str) -> AsyncIterator[list[str]]:
    """How requests end, that are made all the time."""
    ended: list[str] = []
    is_over = False

    async def one_after_the_other(session: aiohttp.ClientSession, *, stream: bool) -> None:
        while not is_over:
            ended.append(await ask(session, url, stream=stream))

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for place in range(AT_ONCE):
            group.create_task(one_after_the_other(session, stream=bool(place % 2)))
        try:
            yield ended
        finally:
            is_over = True


async def until_well(ended: list[str]) -> None:
    """Until enough requests in a row were answered."""
    seen = len(ended)
    try:
        await eventually(
            lambda: len(ended) >= seen + UNDISTURBED and set(ended[-UNDISTURBED:]) == {"answered"}, RECOVERED_WITHIN_S
        )
    except AssertionError as late:
        late.add_note(f"requests ended: {Counter(ended)}")
        raise


@pytest.mark.parametrize(
    ("kind", "may_break_off"),
    [("lens-", True), ("engine-", True), ("nats", False), ("redis", False), ("forecaster", False)],
)
async def test_who_dies_under_load_takes_nothing_along_but_what_it_had_begun(
    system: NativeSystem, kind: str, may_break_off: bool
) -> None:
    name = next(name for name in sorted(system.programs) if name.startswith(kind))
    async with load(system.url) as ended:
        await until_well(ended)
        program = system.programs[name]
        assert program.pid is not None
        os.kill(program.pid, signal.SIGKILL)
        await until_well(ended)
        await eventually(
            lambda: system.programs[name].starts > program.starts and not system.lacking(), RECOVERED_WITHIN_S
        )
        await until_well(ended)
    told = Counter(ended)
    if not may_break_off:
        assert told["answered"] == len(ended), told
