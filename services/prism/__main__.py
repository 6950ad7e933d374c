"""Starts prism: reads its settings, puts its parts together, serves until a signal, then lets what streams finish."""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator

import structlog
import uvicorn

from services.prism.app import create_app
from services.prism.dispatches import Dispatches
from services.prism.forecasts import FleetReader
from services.prism.metrics import Metrics
from services.prism.policies import policy_named
from services.prism.retry_budget import RetryBudget
from services.prism.router import Router
from services.prism.settings import PrismSettings
from services.prism.upstream import Upstream
from shared.lifecycle import Readiness, stop_signals
from shared.logs import configure_logs
from shared.settings import load

log = structlog.get_logger()


class Server(uvicorn.Server):
    """Leaves signals to the process that it is embedded in."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def serve(settings: PrismSettings, stop: asyncio.Event) -> None:
    """Serve until told to stop, and until the requests at hand are answered or the time to drain is over."""
    readiness = Readiness("redis", "engines")
    metrics = Metrics()
    # A new name for each start: engines echo the numbers of dispatches, and those begin at 1 again.
    dispatches = Dispatches(f"{settings.replica}-{secrets.token_hex(3)}")
    fleet = FleetReader(settings.redis_url, readiness, metrics.redis_failures.inc)
    async with contextlib.aclosing(fleet), Upstream() as upstream:
        router = Router(
            fleet,
            upstream,
            dispatches,
            metrics,
            idle_s=settings.idle_s,
            answer_s=settings.answer_s,
            budget=RetryBudget(settings.retry_share, settings.retry_floor),
            hedge_share=settings.hedge_share,
            policy=policy_named(settings.policy),
        )
        app = create_app(
            router,
            fleet,
            dispatches,
            metrics,
            readiness,
            slo_classes=settings.slo_classes,
            most_body_bytes=settings.max_body_bytes,
        )
        server = Server(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                loop="asyncio",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=settings.drain_s,
            )
        )
        serving = asyncio.create_task(server.serve())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        readiness.lacks("router", "draining")
        server.should_exit = True
        await serving
        stopping.cancel()


async def main() -> None:
    """The entry point."""
    settings = load(PrismSettings)
    configure_logs("prism", settings.log_level)
    log.info("starting", host=settings.host, port=settings.port, replica=settings.replica)
    with stop_signals() as stop:
        await serve(settings, stop)


if __name__ == "__main__":
    asyncio.run(main())
