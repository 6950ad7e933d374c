"""Requests all the time while something breaks, and what came of each: one line of the table of faults."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec

from tests.servers import eventually

EVENT_END, DATA, DONE = b"\n\n", b"data: ", b"[DONE]"
HANGS_AFTER_S = 45.0
AT_ONCE = 8
"""Requests that are always under way: half of them streams."""
UNDISTURBED = 24
"""Answers in a row that show that all is well again."""
MODEL = "Llama-3.1-8B"
BODY: Mapping[str, object] = {"model": MODEL, "prompt": "Hello " * 100, "max_tokens": 40}
STREAMED: Mapping[str, object] = {"stream": True, "stream_options": {"include_usage": True}}
PROPER_ERRORS = frozenset({429, 502, 503})


class End(StrEnum):
    """How a request ended."""

    ANSWERED = "answered"
    FAILED_BEFORE = "failed before its first token"
    FAILED_AFTER = "failed after its first token"
    HUNG = "hung"


class Ended(NamedTuple):
    """One request."""

    began_at_s: float
    """By this process' monotonic clock."""
    ended_at_s: float
    end: End
    told: str
    """What its error said."""


class Fault(msgspec.Struct, frozen=True):
    """A row of `runs/chaos.jsonl`."""

    fault: str
    requests: int
    failed_before_first_token: int
    failed_after_first_token: int
    hung: int
    recovery_s: float
    """Until all containers were healthy, and from then on as many requests as are always under way, three times over, were
    answered without an exception."""


class Load:
    """Requests under way; `ended` grows."""

    def __init__(self, url: str) -> None:
        self.ended: list[Ended] = []
        self.is_over = False
        self._url = url

    async def one_after_the_other(self, session: aiohttp.ClientSession, *, stream: bool) -> None:
        """Ask until it is over."""
        while not self.is_over:
            began_at_s = time.monotonic()
            try:
                async with asyncio.timeout(HANGS_AFTER_S):
                    end, told = await self._ask(session, stream=stream)
            except TimeoutError:
                end, told = End.HUNG, f"not ended after {HANGS_AFTER_S:g} s"
            self.ended.append(Ended(began_at_s, time.monotonic(), end, told))
            if end is End.FAILED_BEFORE:
                await asyncio.sleep(0.1)  # a client that is refused at once does not ask a thousand times a second

    async def _ask(self, session: aiohttp.ClientSession, *, stream: bool) -> tuple[End, str]:
        data = b""
        try:
            body = {**BODY, **(STREAMED if stream else {})}
            async with session.post(self._url + "/v1/completions", json=body) as response:
                async for chunk in response.content.iter_any():
                    data += chunk
        except aiohttp.ClientError as error:
            return End.FAILED_AFTER if data else End.FAILED_BEFORE, f"{type(error).__name__}: {error}"
        if response.status != 200:
            assert response.status in PROPER_ERRORS, data
            return End.FAILED_BEFORE, _message(data)
        if not stream:
            _check_whole([msgspec.json.decode(data)])
            return End.ANSWERED, ""
        *told, last = [event.removeprefix(DATA) for event in data.split(EVENT_END) if event.startswith(DATA)]
        if last == DONE:
            _check_whole([msgspec.json.decode(event) for event in told])
            return End.ANSWERED, ""
        return End.FAILED_AFTER, _message(last)


def _check_whole(parts: Sequence[Mapping[str, Any]]) -> None:
    """Of an answer: it ended once, with as many tokens as were asked for, whatever was computed again meanwhile."""
    reasons = [choice["finish_reason"] for part in parts for choice in part["choices"]]
    assert [reason for reason in reasons if reason] == ["length"], reasons
    counted = [part["usage"]["completion_tokens"] for part in parts if part.get("usage")]
    assert counted == [BODY["max_tokens"]], counted


def _message(data: bytes) -> str:
    """What an OpenAI error says; that it is one is asserted."""
    text: str = msgspec.json.decode(data)["error"]["message"]
    assert text
    return text


@contextlib.asynccontextmanager
async def load(url: str) -> AsyncIterator[Load]:
    """Keep requests under way."""
    running = Load(url)
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for place in range(AT_ONCE):
            group.create_task(running.one_after_the_other(session, stream=bool(place % 2)))
        try:
            yield running
        finally:
            running.is_over = True


async def until_well(running: Load, since_s: float, within_s: float) -> float:
    """Wait until enough requests that began since then were answered in a row; how long after it the first of these began.

    Raises:
        AssertionError: that took too long; with what requests said.
    """

    def row() -> list[Ended]:
        since = [ended for ended in running.ended if ended.began_at_s >= since_s]
        last_bad = max((place for place, ended in enumerate(since) if ended.end is not End.ANSWERED), default=-1)
        return since[last_bad + 1 :]

    try:
        await eventually(lambda: len(row()) >= UNDISTURBED, within_s)
    except AssertionError as late:
        late.add_note(str({ended.told for ended in running.ended if ended.told}))
        raise
    return max(min(ended.began_at_s for ended in row()) - since_s, 0.0)


def several(url: str, body: Mapping[str, object] = BODY) -> Sequence[str | None]:
    """Who answers a few requests that come at once, so many that one engine is not enough for them; None where one was not answered."""
    return asyncio.run(_several(url, body))


async def _several(url: str, body: Mapping[str, object]) -> Sequence[str | None]:
    async with aiohttp.ClientSession() as session:
        return await asyncio.gather(*(_served_by(session, url, body) for _ in range(4 * AT_ONCE)))


async def _served_by(session: aiohttp.ClientSession, url: str, body: Mapping[str, object]) -> str | None:
    with contextlib.suppress(aiohttp.ClientError):
        async with session.post(url + "/v1/completions", json=body) as response:
            await response.read()
            return response.headers.get("x-synergy-engine")
    return None


def fault_row(fault: str, running: Load, recovery_s: float) -> Fault:
    """The line of the table."""
    ends = [ended.end for ended in running.ended]
    return Fault(
        fault=fault,
        requests=len(ends),
        failed_before_first_token=ends.count(End.FAILED_BEFORE),
        failed_after_first_token=ends.count(End.FAILED_AFTER),
        hung=ends.count(End.HUNG),
        recovery_s=round(recovery_s, 2),
    )


def write_row(row: Fault, path: Path) -> None:
    """Add it to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(msgspec.json.encode(row) + b"\n")
