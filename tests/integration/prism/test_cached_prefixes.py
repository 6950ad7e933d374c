"""What lens tells of its cache through a real Redis, and what prism makes of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from aiohttp import web

from services.lens.fleet import Fleet
from services.lens.text_blocks import TextBlocks
from services.prism.cached_prefixes import CachedPrefixes
from services.prism.forecasts import FleetReader
from services.prism.mirror import Mirror
from services.prism.prefix_reader import PrefixReader
from services.prism.scripts import Scripts
from shared.fleet_scripts import CHANGED
from shared.headers import DISPATCH, PROMPT_TOKENS
from shared.lifecycle import Readiness
from shared.names import ENGINE_KEY_LIFETIME_S, prefixes_key
from shared.prompt_blocks import block_names
from tests.integration.prism.conftest import Announcer, Prism
from tests.integration.prism.fake_engine import Behaviour, FakeEngine
from tests.servers import Server, eventually
from tests.unit.prism.builders import MODEL, state

PROMPT = "In the beginning was the word, and it was followed by many more of them. " * 50
BLOCKS = block_names(PROMPT.encode(), tenant="", model=MODEL)


class Told:
    """A lens that tells of its text, and a router's mirror of it."""

    def __init__(self, url: str) -> None:
        self.text = TextBlocks()
        self.mirror = CachedPrefixes()
        self.reader = PrefixReader(url, self.mirror)
        self._lens = Fleet(url, "e", Readiness())
        self._scripts = Scripts(url, (CHANGED,))
        self._router = FleetReader(self._scripts, Mirror(), Readiness(), lambda: None)

    async def tell(self) -> bool:
        text = self.text
        told = state(
            "e",
            prefix_epoch="1",
            prefix_serial=text.serial,
            prefix_blocks=len(text.held),
            prefix_changes=text.changes,
        )
        return await self._lens.share_prefixes(frozenset(self.text.held)) and await self._lens.announce(told)

    async def route(self) -> None:
        self.mirror.take((await self._router.read()).engines)

    def mirrors(self, *, held: tuple[str, ...]) -> bool:
        return not self.mirror.behind and self.mirror.cached_blocks(held) == ({"e": len(held)} if held else {})

    async def aclose(self) -> None:
        self._scripts.close()
        await asyncio.gather(self._lens.leave(), self.reader.aclose())


@pytest.fixture
async def told(redis_process: Server) -> AsyncIterator[Told]:
    async with contextlib.aclosing(Told(redis_process.url)) as told:
        yield told


@contextlib.asynccontextmanager
async def beside(reader: PrefixReader) -> AsyncIterator[None]:
    task = asyncio.create_task(reader.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_changes_alone_keep_a_mirror_up_to_date(told: Told) -> None:
    for held in (BLOCKS[:3], (), BLOCKS[:5]):
        told.text.release(0)
        told.text.hold(0, held)
        assert await told.tell()
        await told.route()
        assert told.mirrors(held=held)


async def test_a_mirror_that_missed_changes_catches_up_from_the_set(told: Told) -> None:
    assert await told.tell()
    await told.route()
    for number in range(1500):
        told.text.hold(number + 1, [f"{number:016x}"])
    told.text.hold(0, BLOCKS[:4])
    told.text.release(7)
    for number in range(100):
        told.text.hold(number + 2000, [f"later-{number}"])
    assert await told.tell()
    await told.route()
    assert told.mirror.behind
    assert not told.mirrors(held=BLOCKS[:4])
    async with beside(told.reader):
        await eventually(lambda: told.mirrors(held=BLOCKS[:4]))
    assert told.mirrors(held=("later-3",))
    assert told.mirror.cached_blocks((f"{6:016x}",)) == {}


async def test_a_set_that_redis_lost_is_written_anew_and_one_nobody_keeps_expires(
    told: Told, redis_process: Server
) -> None:
    async with redis.asyncio.from_url(redis_process.url, decode_responses=True) as database:
        told.text.hold(0, BLOCKS)
        assert await told.tell()
        await database.delete(prefixes_key("e"))
        told.text.hold(1, ["another"])
        assert await told.tell()
        assert await database.smembers(prefixes_key("e")) == {*BLOCKS, "another"}
        assert 0 < await database.ttl(prefixes_key("e")) <= ENGINE_KEY_LIFETIME_S


async def test_a_reader_waits_for_redis_to_come_back(told: Told, redis_process: Server) -> None:
    told.text.hold(0, (*map(str, range(100)), "last"))
    assert await told.tell()
    await told.route()
    redis_process.stop()
    async with beside(told.reader):
        redis_process.start()
        await eventually(told.tell)
        await eventually(lambda: told.mirrors(held=("0", "1")))


def counting(tokens: int) -> Behaviour:
    async def behave(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"choices": []}, headers={PROMPT_TOKENS: str(tokens)})

    return behave


async def test_a_prompt_goes_where_its_beginning_is_cached(
    prism: Prism, announcer: Announcer, fast: FakeEngine, slow: FakeEngine
) -> None:
    for engine in (fast, slow):
        await announcer.forecast(engine.forecast(base_ms=10.0))
    soon, another = {"x-slo-ttft-ms": "600"}, {"x-slo-ttft-ms": "600", "x-synergy-tenant": "another"}
    for having, other in ((fast, slow), (slow, fast)):
        for engine in (fast, slow):  # of what went before nothing is on its way any more
            await announcer.settle(engine, [asked.headers[DISPATCH] for asked in engine.asked])
        await announcer.announce(other, prefix_epoch="1")
        changes = tuple(f"+{block}" for block in BLOCKS)
        await announcer.announce(having, prefix_epoch="2", prefix_serial=len(BLOCKS), prefix_changes=changes)
        for _ in range(5):
            async with prism.complete(prompt=PROMPT + "And then?", headers=soon) as response:
                assert response.headers["x-synergy-engine"] == having.name
        async with prism.complete(prompt=PROMPT, headers=soon) as response:
            cached_ms = float(response.headers["x-synergy-predicted-ttft-ms"])
        async with prism.complete(prompt=PROMPT, headers=another) as response:
            assert float(response.headers["x-synergy-predicted-ttft-ms"]) > cached_ms + 20


async def test_nobody_is_shown_which_text_is_there(prism: Prism, announcer: Announcer, fast: FakeEngine) -> None:
    await announcer.announce(fast, prefix_epoch="1", prefix_serial=1, prefix_changes=(f"+{BLOCKS[0]}",))
    assert BLOCKS[0].encode() not in (await prism.get("/v1/engines"))[1]


async def test_what_engines_count_is_what_is_foreseen_next(prism: Prism, two_engines: tuple[FakeEngine, ...]) -> None:
    predicted_ms = []
    for counted in (len(PROMPT), 1):
        two_engines[0].behaviour = counting(counted)
        async with prism.complete(prompt=PROMPT) as response:
            predicted_ms.append(float(response.headers["x-synergy-predicted-ttft-ms"]))
            assert response.headers[PROMPT_TOKENS] == str(counted)
    assert predicted_ms[1] > 2 * predicted_ms[0]
