"""The faust app, without Kafka: one agent learns what the source pulls, one small web server tells how things stand."""

import asyncio
from collections.abc import Callable

import faust
import faust.app
import prometheus_client
from faust import web
from faust.types import ChannelT, StreamT

from services.forecaster.intake import unexpected
from services.forecaster.learner import Arrived, Learner, Lesson
from services.forecaster.metrics import ForecasterMetrics
from shared.lifecycle import Readiness

Batch = list[Arrived]
"""What travels through the channel as one item: a channel's work for an item is several times that of learning a step."""
MOST_BATCHES = 2
"""That wait to be learned; then no more is asked for."""
MESSAGES_A_TURN = 16


class ForecasterApp(faust.App):
    """Agents, services and the web part of faust; state is in Redis, and nothing on the disk."""

    class BootStrategy(faust.app.BootStrategy):
        """Starts no producer, consumer, conductor or tables."""

        enable_kafka = False

    async def on_first_start(self) -> None:
        """Make no directories: there are no tables to keep in them."""


def create_app(host: str, port: int, readiness: Readiness, metrics: ForecasterMetrics) -> ForecasterApp:
    """The app with its pages."""
    app = ForecasterApp(
        "forecaster",
        autodiscover=False,
        web_bind=host,
        web_host=host,
        web_port=port,
        web_router_enabled=False,
        web_tables_enabled=False,
    )

    @app.page("/health/live")
    async def live(view: web.View, _request: web.Request) -> web.Response:
        return view.json({"status": "alive"})

    @app.page("/health/ready")
    async def ready(view: web.View, _request: web.Request) -> web.Response:
        problems = dict(readiness.problems)
        body = {"status": "not ready" if problems else "ready", "problems": problems}
        return view.json(body, status=503 if problems else 200)

    @app.page("/metrics")
    async def metrics_page(view: web.View, _request: web.Request) -> web.Response:
        page = prometheus_client.generate_latest(metrics.registry)
        return view.bytes(page, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})

    return app


def add_agent(app: ForecasterApp, learner: Learner, taught: Callable[[Lesson], None]) -> ChannelT[Batch]:
    """The agent that predicts, then learns; what is sent to the channel that comes back, it learns in order."""
    channel: ChannelT[Batch] = app.channel(maxsize=MOST_BATCHES)

    async def teach(batch: Batch) -> None:
        for number, arrived in enumerate(batch, start=1):
            lesson = _learned(learner, arrived)
            if lesson is not None:
                taught(lesson)
            if number % MESSAGES_A_TURN == 0:
                await asyncio.sleep(0)  # beats and writes must not wait for a whole batch

    @app.agent(channel)
    async def learn(batches: StreamT[Batch]) -> None:
        async for batch in batches:
            try:
                await teach(batch)
            except Exception as error:
                await app.crash(error)  # begun anew, an agent would go on behind a gap
                raise

    app.flow_control.resume()  # without Kafka nothing else does, and the channel would wait for ever
    return channel


def _learned(learner: Learner, arrived: Arrived) -> Lesson | None:
    """One message may be anything; it must not end the service on every replica in turn."""
    try:
        return learner.learn(arrived)
    except Exception as error:  # noqa: BLE001
        lease, position, engine, _ = arrived
        return Lesson(lease, position, engine, set_aside=unexpected(b"", error).set_aside)
