"""Lens on a free port over a fake engine, as its HTTP tests need it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import uvicorn

from services.lens.app import create_app
from services.lens.frontend import Frontend
from services.lens.loop import StepLoop
from services.lens.metrics import LensMetrics
from services.lens.publisher import Publisher
from shared.lifecycle import Readiness
from shared.telemetry import Report
from tests.servers import eventually, free_port
from tests.unit.lens.builders import text_model
from tests.unit.lens.fake_session import FakeEngine

TEXT_MODEL = text_model()
END_ID = next(iter(TEXT_MODEL.end_ids))
WORDS = "the quick brown fox"


class Rig:
    """Lens on a free port over a fake engine that answers each prompt of n bytes with `WORDS[n:]` and the end."""

    def __init__(self) -> None:
        script = [*TEXT_MODEL.encode(WORDS), *[END_ID] * 200]
        self.engine = FakeEngine(lambda _slot, cached: script[cached])
        self.reports: list[Report] = []
        self.readiness = Readiness("engine", "warm-up")
        self.loop = StepLoop(
            self.engine.connect,
            self.reports.append,
            self.readiness,
            target_s=0.1,
            least_prefill_tokens=4,
            step_timeout_s=5.0,
            engine_patience_s=5.0,
        )
        self.metrics = LensMetrics()
        self.frontend = Frontend(self.loop, TEXT_MODEL, self.reports.append, max_waiting=8)

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[aiohttp.ClientSession]:
        publisher = Publisher("e", Readiness())
        app = create_app(self.frontend, self.readiness, self.metrics, self.loop, publisher, max_body_bytes=10_000)
        port = free_port()
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, http="httptools"))
        tasks = [asyncio.create_task(self.loop.run()), asyncio.create_task(server.serve())]
        await eventually(lambda: server.started)
        await self.loop.serving.wait()
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
                yield client
        finally:
            tasks[0].cancel()
            server.should_exit = True
            await asyncio.gather(*tasks, return_exceptions=True)


async def complete(client: aiohttp.ClientSession, **fields) -> Any:
    body = {"model": "m", "prompt": "abc", "max_tokens": 50, **fields}
    async with client.post("/v1/completions", json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()
