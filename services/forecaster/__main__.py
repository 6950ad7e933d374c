"""`python -m services.forecaster`: the stream processor, from its settings to its last write."""

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import sys

import structlog

from services.forecaster.app import Batch, add_agent, create_app
from services.forecaster.complaints import Complaints
from services.forecaster.learner import Learner, Lesson
from services.forecaster.metrics import ForecasterMetrics
from services.forecaster.publish import Publisher
from services.forecaster.settings import ForecasterSettings
from services.forecaster.share import Share
from services.forecaster.sharing import Replica
from services.forecaster.source import StreamWanted, TelemetrySource
from services.forecaster.store import REDIS_TROUBLE, Refused, Store
from shared.lifecycle import Readiness, background, stop_signals
from shared.listening import CannotListen, beginning_to_listen
from shared.logs import configure_logs
from shared.settings import load

log = structlog.get_logger()

STOP_S = 5.0


async def main(settings: ForecasterSettings) -> None:
    """Learn this replica's share until a signal; then write it, give it to the others, and leave."""
    readiness = Readiness("nats", "redis", "partitions")
    replica = Replica(settings.replica_name, secrets.token_hex(4))
    learner = Learner(settings.max_engines)
    complaints = Complaints()
    store = Store(settings.redis_url, replica)

    def taught(lesson: Lesson) -> None:
        publisher.note(lesson)
        complaints.note(lesson)

    async def deliver(batch: Batch) -> None:
        await channel.send(value=batch)

    def refused(refusal: Refused) -> None:
        share.refused(refusal)

    def noticed() -> None:
        share.look()

    wanted = StreamWanted(settings.telemetry_max_bytes, settings.partitions)
    source = TelemetrySource(settings.nats_url, wanted, learner, readiness, deliver=deliver, noticed=noticed)
    publisher = Publisher(store, replica, learner, readiness, is_behind=lambda: source.is_behind, refused=refused)
    share = Share(store, replica, learner, source, publisher, readiness)
    metrics = ForecasterMetrics(learner, complaints, lambda: source.num_pending)
    app = create_app(settings.host, settings.port, readiness, metrics)
    channel = add_agent(app, learner, taught)

    with stop_signals() as stop:
        try:
            with beginning_to_listen(settings.host, settings.port):
                await app.start()
            gc.freeze()  # what is there now stays; to look through all of it again would hold learning up for 100 ms
            async with background(publisher.run(), share.run()):
                await app.add_runtime_dependency(source)
                await app.wait(stop.wait())
                if app.crash_reason is not None:
                    raise app.crash_reason
            engines = {model.engine: model.steps_learned for model in learner.models}
            with contextlib.suppress(*REDIS_TROUBLE):
                await share.leave()
        finally:  # the web server has a thread of its own, which would answer for a service that is no more
            async with asyncio.timeout(STOP_S):
                await source.stop()
                await store.close()
                await app.stop()
    log.info("left", engines=engines)


if __name__ == "__main__":
    forecaster_settings = load(ForecasterSettings)
    configure_logs("forecaster", forecaster_settings.log_level)
    for chatty in ("faust", "mode"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        asyncio.run(main(forecaster_settings))
    except CannotListen as taken:
        print(taken, file=sys.stderr, flush=True)
        os._exit(1)  # before the web server's thread adds a complaint that nothing follows from
    except Exception:
        log.exception("failed")
        os._exit(1)  # at once, whatever threads there still are; others take over when the leases expire
