"""Telemetry to NATS JetStream: a bounded buffer that lens never waits for; when it is full the oldest go."""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext

from shared.lifecycle import Readiness
from shared.names import LENS_INBOX, TELEMETRY_STREAM, telemetry_subject
from shared.telemetry import Report, Telemetry
from shared.wire import encode

log = structlog.get_logger()

GATHER_S = 0.01
"""Reports of this span travel in one message: with the publish itself they are on their way within 20 ms."""
MOST_REPORTS_A_MESSAGE = 256
MOST_REPORTS_BUFFERED = 20_000
ACKNOWLEDGED_WITHIN_S = 2.0
RETRY_S = 0.5
RECONNECT_S = 1


class Publisher:
    """Buffers reports and publishes them in order, each message once: a retry carries the same message id."""

    def __init__(self, engine: str, readiness: Readiness, kind: Callable[[], str] = str) -> None:
        """`kind`: hardware class and model, asked at each message; empty while not known."""
        self.reports_dropped = 0
        self._engine = engine
        self._kind = kind
        self._lens = secrets.token_hex(4)
        self._readiness = readiness
        self._buffer: deque[Report] = deque()
        self._waiting = asyncio.Event()
        self._sequence = 0
        self._publishing = False

    def report(self, report: Report) -> None:
        """Buffer a report; drops the oldest if the buffer is full."""
        if len(self._buffer) >= MOST_REPORTS_BUFFERED:
            self._buffer.popleft()
            self.reports_dropped += 1
        self._buffer.append(report)
        self._waiting.set()

    async def run(self, nats_url: str) -> None:
        """Publish for ever; NATS may come and go."""
        async with _connected(nats_url, self._readiness) as jetstream:
            while True:
                await self._waiting.wait()
                await asyncio.sleep(GATHER_S)
                self._publishing = True
                await self._publish(jetstream, self._next_message())
                self._publishing = False

    async def flush(self, within_s: float) -> None:
        """Wait until what is buffered has been published, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._waiting.is_set() or self._publishing:
                    await asyncio.sleep(GATHER_S)

    def _next_message(self) -> Telemetry:
        reports = [self._buffer.popleft() for _ in range(min(len(self._buffer), MOST_REPORTS_A_MESSAGE))]
        if not self._buffer:
            self._waiting.clear()
        self._sequence += 1
        return Telemetry(
            engine=self._engine,
            lens=self._lens,
            sequence=self._sequence,
            reports=tuple(reports),
            kind=self._kind(),
        )

    async def _publish(self, jetstream: JetStreamContext, message: Telemetry) -> None:
        payload = encode(message)
        headers = {"Nats-Msg-Id": f"{self._engine}:{message.lens}:{message.sequence}"}
        while True:
            try:
                await jetstream.publish(
                    telemetry_subject(self._engine),
                    payload,
                    timeout=ACKNOWLEDGED_WITHIN_S,
                    stream=TELEMETRY_STREAM,
                    headers=headers,
                )
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError) as error:
                self._readiness.lacks("nats", f"telemetry is not stored: {error or type(error).__name__}")
                await asyncio.sleep(RETRY_S)
            else:
                self._readiness.has("nats")
                return


@contextlib.asynccontextmanager
async def _connected(nats_url: str, readiness: Readiness) -> AsyncIterator[JetStreamContext]:
    async def note_error(error: Exception) -> None:
        readiness.lacks("nats", str(error) or type(error).__name__)

    connection = Client()
    while not connection.is_connected:
        try:
            await connection.connect(
                nats_url,
                inbox_prefix=LENS_INBOX,
                error_cb=note_error,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_S,
                pending_size=0,
            )
        except (nats.errors.Error, OSError) as error:
            await note_error(error)
            await asyncio.sleep(RETRY_S)
    try:
        yield connection.jetstream()
    finally:
        await connection.close()
