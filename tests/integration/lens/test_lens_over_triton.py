"""Lens as a process, over a real Triton with the real small LLM, real NATS and real Redis."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import nats
import psutil
import pytest
import redis
from cyllama.llama.llama_cpp import LlamaModel, LlamaModelParams

from services.lens.settings import bundled_model_path
from shared.engine_state import EngineState
from shared.names import TELEMETRY_STREAM, TELEMETRY_SUBJECTS, engine_key
from shared.telemetry import Outcome, RequestReport, StepReport, Telemetry
from shared.wire import decode
from tests.servers import Server, eventually, free_port, nats_server, redis_server
from tests.services import Service, service

MODEL = "SmolLM2-135M-Instruct"


class System:
    """What the tests of this module share."""

    def __init__(self, folder: Path, nats_at: Server, redis_at: Server) -> None:
        self.nats, self.redis = nats_at, redis_at
        self.grpc_port, self.port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder

    @property
    def engine_environment(self) -> dict[str, str]:
        return {
            "ENGINE_GRPC_PORT": str(self.grpc_port),
            "ENGINE_THREADS": "2",
            "ENGINE_SLOTS": "4",
            "ENGINE_KV_TOKENS": "2048",
            "ENGINE_MAX_CONTEXT_TOKENS": "512",
        }

    @property
    def lens_environment(self) -> dict[str, str]:
        return {
            "LENS_ENGINE": "e1",
            "LENS_ENGINE_GRPC": f"127.0.0.1:{self.grpc_port}",
            "LENS_PORT": str(self.port),
            "LENS_MAX_WAITING": "16",
            "LENS_ENGINE_PATIENCE_S": "60",
            "NATS_URL": self.nats.url,
            "REDIS_URL": self.redis.url,
        }

    def state(self) -> EngineState | None:
        data = redis.Redis.from_url(self.redis.url).get(engine_key("e1"))
        return None if data is None else decode(data, EngineState)


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("lens")
    with nats_server(folder) as nats_at, redis_server(folder) as redis_at:
        yield System(folder, nats_at, redis_at)


@pytest.fixture(scope="module")
def engine(system) -> Iterator[Service]:
    with service("services.engine", system.engine_environment, system.folder / "engine.log") as started:
        yield started


@pytest.fixture(scope="module")
def lens(system, engine) -> Iterator[Service]:
    with service("services.lens", system.lens_environment, system.folder / "lens.log") as started:
        started.wait_for(f"{system.url}/health/ready", deadline_s=60)
        yield started


@pytest.fixture
async def client(system, lens) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(system.url) as session:
        yield session


async def complete(client: aiohttp.ClientSession, prompt: str, **fields: Any) -> Any:
    body = {"model": MODEL, "prompt": prompt, "max_tokens": 12, "temperature": 0, **fields}
    async with client.post("/v1/completions", json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def text(client: aiohttp.ClientSession, prompt: str, **fields: Any) -> str:
    answer = await complete(client, prompt, **fields)
    return str(answer["choices"][0]["text"])


async def streamed_text(client: aiohttp.ClientSession, begun: asyncio.Event, prompt: str, **fields: Any) -> str:
    """The text of a stream that must end well; `begun` is set when the first event is here."""
    body = {"model": MODEL, "prompt": prompt, "stream": True, "temperature": 0, **fields}
    events = []
    async with client.post("/v1/completions", json=body) as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                events.append(line.removeprefix(b"data: ").strip())
                begun.set()
    assert events.pop() == b"[DONE]"
    return "".join(json.loads(event)["choices"][0]["text"] for event in events)


@pytest.fixture
async def telemetry(system) -> AsyncIterator[Any]:
    """The stream as the forecaster sets it up, and a subscription to all that is published from now on."""
    connection = await nats.connect(system.nats.url)
    jetstream = connection.jetstream()
    await jetstream.add_stream(name=TELEMETRY_STREAM, subjects=[TELEMETRY_SUBJECTS])
    yield await connection.subscribe(TELEMETRY_SUBJECTS)
    await connection.close()


async def test_more_requests_than_slots_are_all_answered(client):
    answers = await asyncio.gather(*(complete(client, f"The number {n} is", ignore_eos=True) for n in range(10)))
    assert {answer["usage"]["completion_tokens"] for answer in answers} == {12}


async def test_usage_agrees_with_the_model_s_own_tokenizer(client):
    prompt = "naïve  café\n\t12345 <|im_end|> 日本"
    model = LlamaModel(str(bundled_model_path()), LlamaModelParams(), verbose=False)
    answer = await complete(client, prompt)
    assert answer["usage"]["prompt_tokens"] == len(model.get_vocab().tokenize(prompt, False, True))


async def test_each_step_and_each_request_is_published(client, telemetry):
    body = {"model": MODEL, "prompt": "Hello", "max_tokens": 5, "ignore_eos": True}
    async with client.post("/v1/completions", json=body, headers={"x-request-id": "mine"}) as response:
        assert response.status == 200
    reports: list[Any] = []
    while not any(isinstance(report, RequestReport) and report.request_id == "mine" for report in reports):
        message = await telemetry.next_msg(timeout=10)
        reports.extend(decode(message.data, Telemetry).reports)
    steps = [report for report in reports if isinstance(report, StepReport)][-5:]
    assert [(step.prefill_tokens, step.decode_tokens) for step in steps] == [(1, 0), *[(0, 1)] * 4]
    assert all(step.duration_ms > 0 for step in steps)
    assert sum(step.duration_ms for step in steps) < sum(step.wall_ms for step in steps)
    assert [step.kv_tokens for step in steps] == [0, 1, 2, 3, 4]
    [mine] = [report for report in reports if isinstance(report, RequestReport) and report.request_id == "mine"]
    assert (mine.outcome, mine.prompt_tokens, mine.output_tokens) == (Outcome.LENGTH, 1, 5)


async def test_the_engine_key_tells_its_state_in_readable_json(system, client):
    await eventually(lambda: (state := system.state()) and state.kv_blocks_free == 128)
    raw = redis.Redis.from_url(system.redis.url, decode_responses=True).get(engine_key("e1"))
    state = json.loads(str(raw))
    assert (state["url"], state["model"], state["max_running"]) == (system.url, MODEL, 4)


async def test_a_client_that_goes_away_frees_its_slot(system, client):
    body = {"model": MODEL, "prompt": "Count:", "max_tokens": 400, "ignore_eos": True, "stream": True}
    async with client.post("/v1/completions", json=body) as response:
        await response.content.readline()
        await eventually(lambda: (state := system.state()) and state.kv_blocks_free < 128)
    await eventually(lambda: (state := system.state()) and state.kv_blocks_free == 128, 3.0)


async def test_what_happens_while_nats_is_away_is_published_when_it_is_back(system, lens, client):
    system.nats.stop()
    body = {"model": MODEL, "prompt": "Hello", "max_tokens": 2, "ignore_eos": True}
    async with client.post("/v1/completions", json=body, headers={"x-request-id": "while-away"}) as response:
        assert response.status == 200
    system.nats.start()
    connection = await nats.connect(system.nats.url)
    stored = await connection.jetstream().subscribe(TELEMETRY_SUBJECTS, ordered_consumer=True)
    reports: list[Any] = []
    while not any(isinstance(report, RequestReport) and report.request_id == "while-away" for report in reports):
        reports.extend(decode((await stored.next_msg(timeout=20)).data, Telemetry).reports)
    await connection.close()


async def test_redis_may_go_and_come_back(system, lens, client):
    system.redis.stop()
    assert await text(client, "The capital of France is")
    await eventually(lambda: _lacks(client, "redis"))
    system.redis.start()
    await eventually(lambda: system.state() is not None)


async def _lacks(client: aiohttp.ClientSession, part: str) -> bool:
    async with client.get("/health/ready") as response:
        assert response.status == 200  # it serves without
        return part in (await response.json())["problems"]


async def test_a_model_that_dies_is_reloaded_and_a_stream_goes_on_where_it_was(engine, client):
    prompt = "The quick brown fox"
    expected = await text(client, prompt, max_tokens=40, ignore_eos=True)
    begun = asyncio.Event()
    answer = asyncio.create_task(streamed_text(client, begun, prompt, max_tokens=40, ignore_eos=True))
    [stub] = [child for child in engine.process.children(recursive=True) if "stub" in child.name()]
    await begun.wait()
    stub.kill()
    assert not answer.done()
    assert await answer == expected


async def test_a_stream_goes_on_when_a_server_that_was_killed_is_started_again(engine, lens, client):
    prompt = "The quick brown fox"
    expected = await text(client, prompt, max_tokens=40, ignore_eos=True)
    begun = asyncio.Event()
    answer = asyncio.create_task(streamed_text(client, begun, prompt, max_tokens=40, ignore_eos=True))
    await begun.wait()
    [server] = [child for child in engine.process.children(recursive=True) if child.name() == "tritonserver"]
    server.kill()
    await asyncio.to_thread(engine.wait_for_end)
    assert not answer.done()
    engine.start()
    assert await answer == expected
    assert lens.process.is_running()


async def test_a_huge_prompt_is_refused_at_once_and_stalls_nobody(client):
    async with client.post("/v1/completions", json={"model": MODEL, "prompt": "a " * 2_000_000}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (400, "context_length_exceeded")


async def _decoding(client: aiohttp.ClientSession) -> bool:
    async with client.get("/metrics") as response:
        return "lens_decoding_sequences 1.0" in await response.text()


async def test_a_lens_that_is_asked_to_leave_finishes_what_it_has_begun(system, engine, tmp_path):
    port = free_port()
    environment = {**system.lens_environment, "LENS_PORT": str(port), "LENS_ENGINE": "leaving"}
    with service("services.lens", environment, tmp_path / "leaving.log") as leaving:
        leaving.wait_for(f"http://127.0.0.1:{port}/health/ready", deadline_s=60)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            answer = asyncio.create_task(complete(session, "Count:", max_tokens=60, ignore_eos=True))
            await eventually(lambda: _decoding(session))
            psutil.Process(leaving.process.pid).terminate()
            assert (await answer)["usage"]["completion_tokens"] == 60
        assert await asyncio.to_thread(leaving.stop) == 0
    assert redis.Redis.from_url(system.redis.url).get(engine_key("leaving")) is None
