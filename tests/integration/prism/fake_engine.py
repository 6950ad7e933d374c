"""An engine as prism sees it: an HTTP server that answers as lens would, or fails as lens might, and remembers who asked."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from shared.engine_state import EngineState
from shared.forecast import Forecast, ModelHealth
from shared.steptime import FEATURES
from tests.servers import free_port
from tests.unit.prism.builders import state


class Asked(NamedTuple):
    """A request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes


Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeEngine:
    """`behaviour` may be changed between requests."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.behaviour: Behaviour = answer_json
        self.asked: list[Asked] = []
        self.left = asyncio.Event()
        """Set when a client leaves before its answer is complete."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["FakeEngine"]:
        """Serve; leaving the context ends the server at once."""
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/{endpoint:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.path, headers, await request.read()))
        try:
            return await self.behaviour(request)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise

    def state(self, **changes: object) -> EngineState:
        """What it announces: idle unless `changes` say otherwise."""
        return state(self.name, **{"url": f"http://127.0.0.1:{self.port}", **changes})

    def forecast(self, *, base_ms: float, health: ModelHealth = ModelHealth.HEALTHY) -> Forecast:
        """A step model of an engine whose steps take at least so long."""
        return Forecast(
            engine=self.name,
            written_at_s=0.0,
            health=health,
            steps_learned=1000,
            mape=0.02,
            coefficients_ms={**dict.fromkeys(FEATURES, 0.0), "base": base_ms, "per_sequence": 0.1, "per_token": 0.05},
            uncertainty_ms={},
            floor_ms=base_ms,
            capacity_tokens_per_s=1000.0,
        )


async def answer_json(_request: web.Request) -> web.StreamResponse:
    """An answer in one piece."""
    return web.json_response({"object": "text_completion", "choices": [{"text": "fine"}]})


def answer_status(status: int, **headers: str) -> Behaviour:
    """An OpenAI error."""

    async def behave(_request: web.Request) -> web.StreamResponse:
        body = {"error": {"message": "no", "type": "server_error", "param": None, "code": None}}
        return web.json_response(body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return behave


async def drop(request: web.Request) -> web.StreamResponse:
    """The connection breaks before any byte of an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def drop_after_flush(request: web.Request) -> web.StreamResponse:
    """The connection breaks once what has been written is on its way."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def stream(*chunks: bytes, then: Behaviour | None = None) -> Behaviour:
    """Server-sent events in these pieces; `then` what happens in place of a clean end."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        if then is not None:
            await then(request)
        await response.write_eof()
        return response

    return behave


async def answer_in_steps(request: web.Request) -> web.StreamResponse:
    """Eight events 20 ms apart, or as late an answer in one piece, as the request says."""
    if not (await request.json()).get("stream"):
        await asyncio.sleep(0.2)
        return await answer_json(request)
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(8):
        await asyncio.sleep(0.02)
        await response.write(b'data: {"choices": []}\n\n')
    await response.write(b"data: [DONE]\n\n")
    return response


async def hang(_request: web.Request) -> web.StreamResponse:
    """Nothing, for ever."""
    await asyncio.Event().wait()
    return web.Response()


def truncated_json(body: bytes, declared_bytes: int) -> Behaviour:
    """The beginning of an answer in one piece, then a broken connection."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"content-type": "application/json", "content-length": str(declared_bytes)}
        )
        await response.prepare(request)
        await response.write(body)
        return await drop_after_flush(request)

    return behave


async def _run(port: int) -> None:
    engine = FakeEngine("process")
    engine.port, engine.behaviour = port, answer_in_steps
    async with engine.running():
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_run(int(sys.argv[1])))
