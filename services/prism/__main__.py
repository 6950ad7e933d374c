"""Starts prism: reads its settings, puts its parts together, serves until a signal, then lets what streams finish."""

import asyncio
import contextlib
import gc
import secrets
from collections.abc import AsyncIterator, Iterator

import redis.asyncio
import structlog
import uvicorn
import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.prism.app import create_app
from services.prism.cached_prefixes import CachedPrefixes
from services.prism.client_protocol import ClientProtocol
from services.prism.decisions import Decisions
from services.prism.dispatches import Dispatches
from services.prism.door import FindsKeys, Guard, KeyRing
from services.prism.forecasts import FleetReader
from services.prism.hindsight import Hindsight
from services.prism.key_file import KeyFile
from services.prism.key_store import KeyStore
from services.prism.metrics import Metrics
from services.prism.mirror import Mirror
from services.prism.policies import policy_named
from services.prism.prefix_reader import PrefixReader
from services.prism.rate_limits import RateLimits
from services.prism.rate_sharing import RateSharing
from services.prism.receipt_log import ReceiptLog
from services.prism.rehearsal import rehearse
from services.prism.reservations import Reservations
from services.prism.retry_budget import RetryBudget
from services.prism.router import Router
from services.prism.scripts import Scripts
from services.prism.settings import PrismSettings
from services.prism.upstream import Upstream
from shared.fleet_scripts import CHANGED, RELEASE, RESERVE
from shared.lifecycle import Readiness, background, stop_signals
from shared.listening import listen
from shared.logs import configure_logs
from shared.open_files import allow_many_connections
from shared.settings import load

log = structlog.get_logger()

REDIS_TIMEOUT_S = 0.25


def client_protocol(settings: PrismSettings) -> type[ClientProtocol]:
    """The protocol towards clients, as a class: uvicorn makes the instances itself."""

    class Bounded(ClientProtocol):
        head_s = settings.head_s
        patience_s = settings.idle_s

    return Bounded


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
    scripts, mirror = Scripts(settings.redis_url, (CHANGED, RESERVE, RELEASE)), Mirror()
    fleet = FleetReader(scripts, mirror, readiness, metrics.redis_failures.inc)
    reservations = Reservations(scripts, mirror, dispatches.replica, metrics.redis_failures.inc)
    receipts = ReceiptLog(settings.redis_url, settings.receipts, metrics.receipts_dropped.inc)
    hindsight = Hindsight(dispatches.replica, metrics, receipts.add)
    prefixes = CachedPrefixes()
    reader = PrefixReader(settings.redis_url, prefixes)
    async with (
        contextlib.aclosing(receipts),
        contextlib.aclosing(reader),
        Upstream() as upstream,
        guard_of(settings, readiness) as guard,
        background(reader.run()),
        contextlib.AsyncExitStack() as stack,
    ):
        stack.callback(scripts.close)
        sockets = listen(settings.host, settings.port)
        decisions = Decisions(
            fleet,
            dispatches,
            metrics,
            reservations=reservations,
            prefixes=prefixes,
            calibration=hindsight.calibration,
            policy=policy_named(settings.policy),
        )
        router = Router(
            decisions,
            upstream,
            metrics,
            hindsight,
            idle_s=settings.idle_s,
            answer_s=settings.answer_s,
            budget=RetryBudget(settings.retry_share, settings.retry_floor),
            hedge_share=settings.hedge_share,
        )
        await fleet.read()  # so that the first requests need not wait for a connection and for all there is
        app = create_app(
            router,
            fleet,
            dispatches,
            metrics,
            readiness,
            hindsight,
            slo_classes=settings.slo_classes,
            most_body_bytes=settings.max_body_bytes,
            guard=guard,
        )
        server = Server(
            uvicorn.Config(
                app,
                loop="none",
                http=client_protocol(settings),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=settings.drain_s,
            )
        )
        writing = asyncio.create_task(receipts.run())
        serving = asyncio.create_task(server.serve(sockets))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        readiness.lacks("router", "draining")
        server.should_exit = True
        await serving
        stopping.cancel()
        writing.cancel()


@contextlib.asynccontextmanager
async def guard_of(settings: PrismSettings, readiness: Readiness) -> AsyncIterator[Guard | None]:
    """Who asks clients for their keys, the rates shared with other replicas; None where anyone may come.

    Raises:
        InvalidSettings: the keys file cannot be used.
    """
    if settings.keys_file is None and not settings.redis_keys:
        yield None
        return
    store = redis.asyncio.from_url(
        settings.redis_url,
        socket_timeout=REDIS_TIMEOUT_S,
        socket_connect_timeout=REDIS_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    places: list[FindsKeys] = []
    if settings.keys_file is not None:
        places.append(KeyFile(settings.keys_file, settings.slo_classes, readiness))
    if settings.redis_keys:
        places.append(KeyStore(store, settings.slo_classes, readiness))
    limits = RateLimits()
    async with contextlib.aclosing(store), background(RateSharing(store, limits).run()):
        yield Guard(KeyRing(*places), limits)


async def main() -> None:
    """The entry point."""
    settings = load(PrismSettings)
    configure_logs("prism", settings.log_level)
    allow_many_connections()
    rehearse()
    log.info("starting", host=settings.host, port=settings.port, replica=settings.replica)
    gc.collect()
    gc.freeze()  # what is imported stays: the garbage collector would look at all of it now and then, and requests wait 0.1 s
    with stop_signals() as stop:
        await serve(settings, stop)


if __name__ == "__main__":
    uvloop.run(main())
