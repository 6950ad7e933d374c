"""`python -m services.lens`: one engine's frontend, from its settings to its graceful end."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Iterator

import structlog
import uvicorn

from services.lens.app import create_app
from services.lens.fleet import Fleet
from services.lens.frontend import Frontend
from services.lens.loop import StepLoop
from services.lens.metrics import LensMetrics
from services.lens.planners import planner_named
from services.lens.publisher import Publisher
from services.lens.settings import LensSettings, bundled_model_path
from services.lens.state import engine_kind, engine_state, prefixes
from services.lens.tokenizer import load_text_model
from services.lens.triton import open_session
from services.lens.warmup import warm_up
from shared.lifecycle import Readiness, background, stop_signals
from shared.listening import listen
from shared.logs import configure_logs
from shared.open_files import allow_many_connections
from shared.settings import load
from shared.steptime import StepModel
from shared.telemetry import Report

log = structlog.get_logger()

DRAIN_SEEN_S = 0.3
"""Routers have read by then that this engine is leaving."""
DRAIN_POLL_S = 0.05
FLUSH_S = 2.0
LEAVE_S = 2


class Server(uvicorn.Server):
    """A server that leaves signals to `main`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def main(settings: LensSettings) -> None:
    """Serve until a signal, then drain and leave."""
    allow_many_connections()
    text_model = load_text_model(settings.tokenizer or bundled_model_path())
    readiness = Readiness("engine", "warm-up", "nats", "redis")
    metrics = LensMetrics()
    publisher = Publisher(settings.engine, readiness, lambda: engine_kind(loop))
    fleet = Fleet(settings.redis_url, settings.engine, readiness)

    def report(report: Report) -> None:
        metrics.count(report)
        publisher.report(report)

    loop = StepLoop(
        functools.partial(open_session, settings.engine_grpc),
        report,
        readiness,
        target_s=settings.step_target_ms / 1e3,
        least_prefill_tokens=settings.least_prefill_tokens,
        step_timeout_s=settings.step_timeout_s,
        engine_patience_s=settings.engine_patience_s,
        planner=planner_named(settings.planner),
    )
    frontend = Frontend(loop, text_model, report, max_waiting=settings.max_waiting)
    app = create_app(frontend, readiness, metrics, loop, publisher, max_body_bytes=settings.max_body_bytes)
    server = Server(
        uvicorn.Config(
            app,
            http="httptools",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=LEAVE_S,
        )
    )

    def learned(model: StepModel) -> None:
        loop.model = model

    async def join_fleet() -> None:
        await warm_up(loop)
        readiness.has("warm-up")
        log.info("ready", engine=settings.engine, url=settings.url)
        await fleet.run(
            functools.partial(engine_state, settings, loop, frontend),
            frontend.take_heard,
            learned,
            functools.partial(prefixes, loop),
        )

    sockets = listen(settings.host, settings.port)
    with stop_signals() as stop:
        async with background(loop.run(), publisher.run(settings.nats_url), join_fleet()):
            serving = asyncio.create_task(server.serve(sockets))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            frontend.draining = True
            log.info("draining", generations=loop.generations_live)
            await drain(loop, settings.drain_s)
            loop.give_up()
            server.should_exit = True
            await serving
            await publisher.flush(FLUSH_S)
        await fleet.leave()
    log.info("left")


async def drain(loop: StepLoop, drain_s: float) -> None:
    """Wait until routers know and every answer has ended, or the time is up."""
    await asyncio.sleep(DRAIN_SEEN_S)
    deadline_s = time.monotonic() + drain_s
    while loop.generations_live and time.monotonic() < deadline_s:
        await asyncio.sleep(DRAIN_POLL_S)


if __name__ == "__main__":
    lens_settings = load(LensSettings)
    configure_logs("lens", lens_settings.log_level)
    asyncio.run(main(lens_settings))
