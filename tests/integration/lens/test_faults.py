"""What becomes of requests, and of lens, when what it relies on fails: a real Triton with an emulated GPU, NATS, Redis."""

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from enum import Enum, auto
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from services.engine.profile import load_profile
from services.lens.triton import open_session
from tests.servers import Server, eventually, free_port, nats_server, redis_server
from tests.services import Service, service

SLOTS = 6
ANSWER_TOKENS = 80
TIME_SCALE = 4
"""A step takes some 25 ms, an answer 2 s: long enough to fail in its middle."""
PATIENCE_S = 5.0
END_WITHIN_S = 60.0
MODEL = "Llama-3.1-8B"


class Ending(Enum):
    """How a request may end when something fails; there is no other way."""

    ANSWERED = auto()
    HANDED_BACK = auto()
    BROKEN_OFF = auto()


class System:
    """What the tests of this module share."""

    def __init__(self, folder: Path, nats: Server, redis: Server) -> None:
        self.folder, self.nats, self.redis = folder, nats, redis
        self.grpc_port, self.port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.profile = folder / "few-slots.json"
        few_slots = msgspec.structs.replace(load_profile("h100-llama3.1-8b"), max_slots=SLOTS)
        self.profile.write_bytes(msgspec.json.encode(few_slots))

    @property
    def engine_environment(self) -> dict[str, str]:
        return {
            "ENGINE_GRPC_PORT": str(self.grpc_port),
            "ENGINE_EXECUTOR": "emulated",
            "ENGINE_PROFILE": str(self.profile),
            "ENGINE_TIME_SCALE": str(TIME_SCALE),
        }

    @property
    def lens_environment(self) -> dict[str, str]:
        return {
            "LENS_ENGINE": "e1",
            "LENS_ENGINE_GRPC": f"127.0.0.1:{self.grpc_port}",
            "LENS_PORT": str(self.port),
            "LENS_ENGINE_PATIENCE_S": str(PATIENCE_S),
            "NATS_URL": self.nats.url,
            "REDIS_URL": self.redis.url,
        }


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("faults")
    with nats_server(folder) as nats, redis_server(folder) as redis:
        yield System(folder, nats, redis)


@pytest.fixture(scope="module")
def engine(system) -> Iterator[Service]:
    with service("services.engine", system.engine_environment, system.folder / "engine.log") as started:
        yield started


@pytest.fixture(scope="module")
def lens_process(system, engine) -> Iterator[Service]:
    with service("services.lens", system.lens_environment, system.folder / "lens.log") as started:
        started.wait_for(f"{system.url}/health/ready", deadline_s=60)
        process = started.process
        yield started
        assert process.is_running(), started.tail()


@pytest.fixture
async def lens(system, lens_process) -> AsyncIterator["Lens"]:
    async with aiohttp.ClientSession(system.url) as session:
        yield Lens(session)


class Request:
    """A request under way."""

    def __init__(self, session: aiohttp.ClientSession, seed: int, *, is_stream: bool) -> None:
        self.seed = seed
        self.is_stream = is_stream
        self.begun = asyncio.Event()
        self.text = ""
        self.refusal: Any = None
        self.ending = asyncio.create_task(self._end(session))

    async def _end(self, session: aiohttp.ClientSession) -> Ending:
        body = {"model": MODEL, "prompt": "Once", "seed": self.seed, "max_tokens": ANSWER_TOKENS, "ignore_eos": True}
        async with (
            asyncio.timeout(END_WITHIN_S),
            session.post("/v1/completions", json={**body, "stream": self.is_stream}) as response,
        ):
            if response.status != 200:
                return self._refused(response, await response.json())
            if not self.is_stream:
                self.text = (await response.json())["choices"][0]["text"]
                return Ending.ANSWERED
            return await self._end_of_stream(response)

    async def _end_of_stream(self, response: aiohttp.ClientResponse) -> Ending:
        ending = None
        async for line in response.content:
            if not line.startswith(b"data: "):
                continue
            assert ending is None, "nothing follows the end"
            data = line.removeprefix(b"data: ").strip()
            event = None if data == b"[DONE]" else json.loads(data)
            if event is None:
                ending = Ending.ANSWERED
            elif "error" in event:
                assert event["error"]["code"] == "engine_failed"
                ending = Ending.BROKEN_OFF
            else:
                self.text += event["choices"][0]["text"]
                self.begun.set()
        assert ending is not None, "the stream has ended in silence"
        return ending

    def _refused(self, response: aiohttp.ClientResponse, body: Any) -> Ending:
        assert (response.status, body["error"]["code"]) == (503, "engine_away"), body
        assert int(response.headers["retry-after-ms"]) > 0
        assert int(response.headers["retry-after"]) > 0
        return Ending.HANDED_BACK


class Lens:
    """A lens that is ready, and a client of it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    def ask(self, seed: int = 0, *, is_stream: bool = False) -> Request:
        return Request(self.session, seed, is_stream=is_stream)

    async def under_load(self) -> tuple[list[Request], list[Request]]:
        """Streams in their middle, and requests that have been sent nothing, of which some are not in the engine yet."""
        begun = [self.ask(seed, is_stream=True) for seed in range(SLOTS - 2)]
        await asyncio.gather(*(request.begun.wait() for request in begun))
        not_begun = [self.ask(seed) for seed in range(4)]
        await eventually(lambda: self.waits(2))
        not_begun += [self.ask(seed, is_stream=True) for seed in range(2)]
        await eventually(lambda: self.waits(4))
        return begun, not_begun

    async def waits(self, requests: int) -> bool:
        return await self.metric("lens_waiting_requests") == requests

    async def metric(self, name: str) -> float:
        async with self.session.get("/metrics") as response:
            found = re.search(rf"^{re.escape(name)} (\S+)$", await response.text(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    async def problems(self, status: int) -> dict[str, str] | None:
        """What it lacks, if readiness has this status now."""
        async with self.session.get("/health/ready") as response:
            said = await response.json()
            return dict(said["problems"]) if response.status == status else None

    async def is_ready(self) -> bool:
        return await self.problems(200) is not None

    async def lacks_engine(self) -> bool:
        return "engine" in (await self.problems(503) or {})

    async def serves_again(self) -> None:
        """Within a deadline it is ready and answers, and nothing of before is left in it."""
        await eventually(self.is_ready, 30.0)
        assert await self.ask().ending is Ending.ANSWERED
        assert [await self.metric(f"lens_{what}") for what in ("decoding_sequences", "waiting_requests")] == [0, 0]


async def endings(requests: list[Request]) -> set[Ending]:
    return set(await asyncio.gather(*(request.ending for request in requests)))


async def undisturbed(lens: Lens, requests: list[Request]) -> dict[int, str]:
    """What these would have been answered, by seed."""
    answers = [lens.ask(seed) for seed in {request.seed for request in requests}]
    assert await endings(answers) == {Ending.ANSWERED}
    return {answer.seed: answer.text for answer in answers}


async def test_an_engine_killed_in_mid_step_hands_back_what_has_not_begun_and_ends_the_rest_with_an_error(lens, engine):
    begun, not_begun = await lens.under_load()
    [server] = [child for child in engine.process.children(recursive=True) if child.name() == "tritonserver"]
    server.kill()
    await eventually(lens.lacks_engine)
    assert await lens.ask().ending is Ending.HANDED_BACK
    assert await endings(not_begun) == {Ending.HANDED_BACK}
    assert not any(request.ending.done() for request in begun)
    assert await endings(begun) == {Ending.BROKEN_OFF}
    assert await lens.lacks_engine()
    await asyncio.to_thread(engine.wait_for_end)
    engine.start()
    await lens.serves_again()


async def test_an_engine_that_freezes_is_given_up_in_time_and_its_streams_go_on_when_it_moves(lens, engine):
    begun, not_begun = await lens.under_load()
    with frozen(engine):
        assert await endings(not_begun) == {Ending.HANDED_BACK}
        assert await lens.lacks_engine()
        assert not any(request.ending.done() for request in begun)
    assert await endings(begun) == {Ending.ANSWERED}
    await lens.serves_again()
    assert {request.seed: request.text for request in begun} == await undisturbed(lens, begun)


@contextlib.contextmanager
def frozen(engine: Service) -> Iterator[None]:
    """Triton and its Python stand still."""
    processes = engine.process.children(recursive=True)
    try:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


async def test_a_plan_that_the_engine_refuses_goes_unnoticed(lens, system):
    begun, not_begun = await lens.under_load()
    opened_before = system.folder.joinpath("lens.log").read_text().count("engine opened")
    async with open_session(f"127.0.0.1:{system.grpc_port}"):  # another's epoch: the engine refuses lens's next step
        assert await endings([*begun, *not_begun]) == {Ending.ANSWERED}
    text = system.folder.joinpath("lens.log").read_text()
    assert text.count("engine opened") == opened_before + 1
    assert "stale_epoch" in text
    await lens.serves_again()
    expected = await undisturbed(lens, begun)
    assert all(request.text == expected[request.seed] for request in (*begun, *not_begun))


async def test_without_nats_and_redis_serving_goes_on(lens, system):
    requests = [lens.ask(seed, is_stream=seed % 2 == 0) for seed in range(SLOTS)]
    await requests[0].begun.wait()
    try:
        system.nats.stop()
        system.redis.stop()
        await eventually(lambda: lacks_both(lens), 30.0)
        assert await endings([*requests, lens.ask()]) == {Ending.ANSWERED}
        assert await lens.is_ready()
    finally:
        system.nats.start()
        system.redis.start()
    await eventually(lambda: is_whole_but_for_the_stream(lens), 30.0)
    await lens.serves_again()


async def lacks_both(lens: Lens) -> bool:
    return {"nats", "redis"} <= (await lens.problems(200) or {}).keys()


async def is_whole_but_for_the_stream(lens: Lens) -> bool:
    """Redis is back, and so is NATS, where no forecaster has made the stream."""
    problems = await lens.problems(200)
    return problems is not None and "redis" not in problems and "not stored" in problems.get("nats", "not stored")
