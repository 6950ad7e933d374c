"""Telemetry out of JetStream: a faust service that pulls from where learning stopped, through whatever NATS goes through."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import faust
import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import StreamInfo

from services.forecaster.broker import NATS_TROUBLE, RETRY_S, connected, consumer_from, ensured_stream, last_sequence
from services.forecaster.engine_model import Position
from services.forecaster.learner import Learner, Pulled
from services.forecaster.metrics import ForecasterMetrics
from shared.lifecycle import Readiness
from shared.names import telemetry_subject
from shared.telemetry import Telemetry
from shared.wire import UnreadableMessage, decode

log = structlog.get_logger()

MOST_MESSAGES_A_FETCH = 512
GATHER_S = 0.05
"""A fetch returns after this long with what there is."""
QUIET_S = 1.0
"""After so long without a message the broker is asked whether the consumer still exists: a lost one is silent."""
BETWEEN_COMPLAINTS_S = 60.0


class TelemetrySource(faust.Service):
    """Delivers each message of the telemetry stream once and in order, by a consumer that is made anew whenever in doubt.

    Nothing is acknowledged: what has been learned is known by the position stored beside each model.
    """

    abstract = False

    def __init__(
        self,
        nats_url: str,
        max_bytes: int,
        learner: Learner,
        metrics: ForecasterMetrics,
        readiness: Readiness,
        *,
        restored: Callable[[], Awaitable[None]],
        deliver: Callable[[Pulled], Awaitable[None]],
    ) -> None:
        """`restored` is awaited before the first pull; `deliver` may take its time, and no more is pulled meanwhile."""
        super().__init__()
        self.messages_delivered = 0
        self._taken = Position("", 0)
        self._nats_url = nats_url
        self._max_bytes = max_bytes
        self._learner = learner
        self._metrics = metrics
        self._readiness = readiness
        self._restored = restored
        self._deliver = deliver
        self._reconnected = False
        self._complained_at_s = -BETWEEN_COMPLAINTS_S

    @faust.Service.task
    async def _pull(self) -> None:
        def note_return() -> None:
            self._reconnected = True

        await self._restored()
        async with connected(self._nats_url, self._readiness, note_return) as connection:
            jetstream = connection.jetstream()
            while not self.should_stop:
                try:
                    await self._follow(jetstream)
                except NATS_TROUBLE as error:
                    self._readiness.lacks("nats", str(error) or type(error).__name__)
                    await asyncio.sleep(RETRY_S)

    async def _follow(self, jetstream: JetStreamContext) -> None:
        """Deliver what one consumer brings, until it cannot be relied on any more."""
        stream = await ensured_stream(jetstream, self._max_bytes)
        start_sequence = await self._start_sequence(jetstream, stream)
        log.info("telemetry followed", from_sequence=start_sequence)
        async with consumer_from(jetstream, start_sequence) as consumer:
            self._reconnected = False
            self._readiness.has("nats")
            expected = 1
            heard_at_s = time.monotonic()
            while not self.should_stop and not self._reconnected:
                try:
                    messages = await consumer.fetch(MOST_MESSAGES_A_FETCH, timeout=GATHER_S)
                except TimeoutError:
                    if time.monotonic() - heard_at_s > QUIET_S:
                        await consumer.consumer_info()
                        heard_at_s = time.monotonic()
                    continue
                heard_at_s = time.monotonic()
                for message in messages:
                    if message.metadata.sequence.consumer != expected:
                        log.warning("messages lost on the way; pulled again", after=self._taken.sequence)
                        return
                    expected += 1
                    await self._take(message, str(stream.created))

    async def _take(self, message: Msg, stream: str) -> None:
        position = Position(stream, message.metadata.sequence.stream)
        self._metrics.lag.set(message.metadata.num_pending)
        try:
            telemetry = _decoded(message)
        except UnreadableMessage as error:
            self._metrics.unreadable.inc()
            self._complain(error, position)
        else:
            await self._deliver(Pulled(position, telemetry))
            self.messages_delivered += 1
        self._taken = position

    def _complain(self, error: UnreadableMessage, position: Position) -> None:
        if time.monotonic() - self._complained_at_s >= BETWEEN_COMPLAINTS_S:
            self._complained_at_s = time.monotonic()
            log.warning("telemetry not readable; skipped", problem=str(error), sequence=position.sequence)

    async def _start_sequence(self, jetstream: JetStreamContext, stream: StreamInfo) -> int:
        """The first message that some engine has not learned.

        An engine that has fallen silent must not hold the start back, or an hour would be read again at every restart.
        """
        created, end = str(stream.created), stream.state.last_seq
        self._learner.rewind(Position(created, end))
        if self._taken.stream == created:
            return min(self._taken.sequence, end) + 1
        positions = self._learner.positions.items()
        learned = {engine: at.sequence if at.stream == created else 0 for engine, at in positions}
        unread = [at for engine, at in learned.items() if await last_sequence(jetstream, engine) > at]
        return min(unread, default=max(learned.values(), default=0)) + 1


def _decoded(message: Msg) -> Telemetry:
    telemetry = decode(message.data, Telemetry)
    if message.subject != telemetry_subject(telemetry.engine):
        raise UnreadableMessage(f"Telemetry: of engine {telemetry.engine!r} on subject {message.subject}")
    return telemetry
