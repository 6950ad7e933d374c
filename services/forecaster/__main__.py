"""`python -m services.forecaster`: the stream processor, from its settings to its last write."""

import asyncio
import contextlib
import logging

import structlog

from services.forecaster.app import add_agent, create_app
from services.forecaster.learner import Learner, Pulled
from services.forecaster.metrics import ForecasterMetrics
from services.forecaster.publish import Publisher
from services.forecaster.settings import ForecasterSettings
from services.forecaster.source import TelemetrySource
from shared.lifecycle import Readiness, background, stop_signals
from shared.logs import configure_logs
from shared.settings import load

log = structlog.get_logger()

LEARN_REST_S = 2.0
LOOK_AGAIN_S = 0.01


async def main(settings: ForecasterSettings) -> None:
    """Learn until a signal; then learn what has been pulled, write it, and leave."""
    readiness = Readiness("nats", "redis")
    learner = Learner()
    metrics = ForecasterMetrics(learner)
    publisher = Publisher(settings.redis_url, learner, readiness)
    app = create_app(settings.host, settings.port, readiness, metrics)
    channel = add_agent(app, learner, publisher)

    async def deliver(pulled: Pulled) -> None:
        await channel.send(value=pulled)

    source = TelemetrySource(
        settings.nats_url,
        settings.telemetry_max_bytes,
        learner,
        metrics,
        readiness,
        restored=publisher.restore,
        deliver=deliver,
    )
    with stop_signals() as stop:
        await app.start()
        async with background(publisher.run()):
            await app.add_runtime_dependency(source)
            await app.wait(stop.wait())
            if app.crash_reason is not None:
                raise app.crash_reason
            await source.stop()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(_learned(learner, source), LEARN_REST_S)
        await publisher.write()
        await publisher.close()
        await app.stop()
    log.info("left", engines={engine: model.steps_learned for engine, model in learner.models.items()})


async def _learned(learner: Learner, source: TelemetrySource) -> None:
    while learner.messages_taken < source.messages_delivered:
        await asyncio.sleep(LOOK_AGAIN_S)


if __name__ == "__main__":
    forecaster_settings = load(ForecasterSettings)
    configure_logs("forecaster", forecaster_settings.log_level)
    for chatty in ("faust", "mode"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    asyncio.run(main(forecaster_settings))
