"""Bodies over the limit, heads that never end, and errors as the OpenAI client understands them, over real connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import openai
import pytest
from aiohttp import web

from services.prism.client_protocol import MOST_HEAD_BYTES
from tests.integration.prism.conftest import Prism
from tests.integration.prism.fake_engine import FakeEngine, answer_json, stream
from tests.unit.prism.builders import MODEL

Engines = tuple[FakeEngine, FakeEngine]


@pytest.mark.parametrize("prism_env", [{"max_body_bytes": 10_000}])
async def test_a_body_over_the_limit_is_refused_before_it_has_all_arrived(prism: Prism, two_engines: Engines) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.01)

    for data in (b"x" * 10_001, endless()):
        async with asyncio.timeout(5), prism.session.post(f"{prism.url}/v1/completions", data=data) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (413, "request_too_large")
    async with prism.complete(prompt="x" * 9_000) as response:
        assert response.status == 200


async def test_the_openai_client_gets_its_errors_and_answers(prism: Prism, two_engines: Engines) -> None:
    async with openai.AsyncOpenAI(base_url=f"{prism.url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await client.completions.create(model="none", prompt="hello")
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError):
            await client.completions.create(model=MODEL, prompt="")
        answer = await client.completions.create(model=MODEL, prompt="hello")
        assert answer.choices[0].text == "fine"
        assert [model.id async for model in client.models.list()] == [MODEL]


async def test_headers_without_end_are_refused_before_anyone_is_asked_for_a_key(prism: Prism) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", prism.port)
    head = b"POST /v1/completions HTTP/1.1\r\nhost: h\r\nx: "
    writer.write(head + b"x" * (MOST_HEAD_BYTES - len(head)))
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 431 ")
    assert b"headers_too_large" in await asyncio.wait_for(reader.read(), 5)
    writer.close()


@pytest.mark.parametrize("prism_env", [{"head_s": 0.5}])
async def test_a_head_that_never_ends_is_given_up_while_long_answers_and_idle_connections_are_not(
    prism: Prism, two_engines: Engines
) -> None:
    fast, _ = two_engines
    given_up = asyncio.Event()

    async def until_told(_request: web.Request) -> web.StreamResponse:
        await given_up.wait()
        return web.Response()

    fast.behaviour = stream(b"data: 1\n\n", then=until_told)
    async with prism.complete(stream=True) as answer:
        assert await answer.content.readany() == b"data: 1\n\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", prism.port)
        dripping = asyncio.create_task(_never_end(writer))
        async with asyncio.timeout(5):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
            assert b"headers_too_late" in await reader.readuntil(b"}}")
            await dripping
        given_up.set()
        assert await answer.read() == b""
    fast.behaviour = answer_json
    async with prism.complete() as response:
        assert response.status == 200


async def _never_end(writer: asyncio.StreamWriter) -> None:
    """Send one header after the other until the connection is closed."""
    writer.write(b"POST /v1/completions HTTP/1.1\r\nhost: h\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"x: y\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)
