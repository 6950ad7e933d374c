"""A lens over a real engine whose cache is small: prompts are copied from each other, and answers make room for each other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import redis.asyncio

from shared.engine_state import EngineState
from shared.headers import PROMPT_TOKENS, TENANT
from shared.names import engine_key, prefixes_key
from shared.prompt_blocks import block_names
from shared.wire import decode
from tests.servers import Server, eventually, free_port, nats_server, redis_server
from tests.services import service

MODEL = "SmolLM2-135M-Instruct"
BLOCK_TOKENS = 16
INSTRUCTIONS = "You are a helpful assistant that answers questions about the history of the sea in one sentence. " * 4


@pytest.fixture(scope="module")
def redis_process(tmp_path_factory) -> Iterator[Server]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def lens_url(tmp_path_factory, redis_process) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("cache")
    grpc_port, port = free_port(), free_port()
    engine = {
        "ENGINE_GRPC_PORT": str(grpc_port),
        "ENGINE_THREADS": "2",
        "ENGINE_SLOTS": "8",
        "ENGINE_KV_TOKENS": "640",
        "ENGINE_KV_BLOCK_TOKENS": str(BLOCK_TOKENS),
        "ENGINE_MAX_CONTEXT_TOKENS": "512",
    }
    with nats_server(folder) as nats:
        lens = {
            "LENS_ENGINE_GRPC": f"127.0.0.1:{grpc_port}",
            "LENS_PORT": str(port),
            "NATS_URL": nats.url,
            "REDIS_URL": redis_process.url,
        }
        with (
            service("services.engine", engine, folder / "engine.log"),
            service("services.lens", lens, folder / "lens.log") as started,
        ):
            url = f"http://127.0.0.1:{port}"
            started.wait_for(f"{url}/health/ready", deadline_s=60)
            yield url


@pytest.fixture
async def client(lens_url) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(lens_url) as session:
        yield session


async def usage(client: aiohttp.ClientSession, prompt: str, max_tokens: int, tenant: str = "") -> dict[str, Any]:
    body = {"model": MODEL, "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True}
    async with client.post("/v1/completions", json=body, headers={TENANT: tenant} if tenant else {}) as response:
        assert response.status == 200, await response.text()
        counted: dict[str, Any] = (await response.json())["usage"]
        return counted


async def metric(client: aiohttp.ClientSession, name: str) -> float:
    async with client.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def cached_tokens(counted: dict[str, Any]) -> int:
    return int(counted["prompt_tokens_details"]["cached_tokens"])


async def test_a_prompt_that_begins_like_an_earlier_one_is_computed_from_where_they_part(client):
    first = await usage(client, INSTRUCTIONS + "When did ships get sails?", 4)
    second = await usage(client, INSTRUCTIONS + "Who drew the first sea chart?", 4)
    assert cached_tokens(first) == 0
    assert cached_tokens(second) % BLOCK_TOKENS == 0
    assert cached_tokens(second) > second["prompt_tokens"] / 2
    assert await metric(client, "lens_copied_tokens") >= cached_tokens(second)


async def test_another_tenant_finds_nothing_of_it(client):
    await usage(client, INSTRUCTIONS + "What is a tide?", 4, tenant="one")
    other = await usage(client, INSTRUCTIONS + "What is a tide?", 4, tenant="another")
    assert cached_tokens(other) == 0


async def test_routers_are_told_which_text_is_there(client, redis_process):
    prompt = INSTRUCTIONS * 2 + "What is the moon?"
    blocks = block_names(prompt.encode(), tenant="teller", model=MODEL)
    assert len(blocks) == 1
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 1}
    async with client.post("/v1/completions", json=body, headers={TENANT: "teller"}) as response:
        counted = (await response.json())["usage"]["prompt_tokens"]
        assert response.headers[PROMPT_TOKENS] == str(counted)
    async with redis.asyncio.from_url(redis_process.url) as database:

        async def is_told() -> bool:
            data = await database.get(engine_key("engine"))
            assert isinstance(data, bytes)
            told = decode(data, EngineState)
            return f"+{blocks[-1]}" in told.prefix_changes

        await eventually(is_told)
        assert {block.encode() for block in blocks} <= await database.smembers(prefixes_key("engine"))
        assert await database.ttl(prefixes_key("engine")) > 0


async def test_answers_that_outgrow_the_cache_together_are_all_finished(client):
    asked = [usage(client, f"Chapter {n}: " + "the sea " * (20 + n), 240) for n in range(3)]
    answers = await asyncio.gather(*asked)
    assert {answer["completion_tokens"] for answer in answers} == {240}
    assert await metric(client, "lens_recomputed_sequences") > 0
    assert await metric(client, "lens_kv_blocks_free") == 640 / BLOCK_TOKENS
