"""NATS as the source needs it: a connection that lasts, the bounded telemetry stream, and a consumer that acknowledges nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import NotFoundError

from shared.lifecycle import Readiness
from shared.names import TELEMETRY_STREAM, TELEMETRY_SUBJECTS, telemetry_subject

NATS_TROUBLE = (nats.errors.Error, TimeoutError, OSError)
RETRY_S = 0.5
RECONNECT_S = 1
KEPT_S = 3600.0
UNUSED_CONSUMER_S = 30.0


@contextlib.asynccontextmanager
async def connected(nats_url: str, readiness: Readiness, returned: Callable[[], None]) -> AsyncIterator[Client]:
    """A connection that is tried for ever, at first and after each loss; `returned` is called when one was made good."""

    async def note_error(error: Exception) -> None:
        readiness.lacks("nats", str(error) or type(error).__name__)

    async def note_loss() -> None:
        readiness.lacks("nats", "connection lost")

    async def note_return() -> None:
        returned()

    connection = Client()
    while not connection.is_connected:
        try:
            await connection.connect(
                nats_url,
                error_cb=note_error,
                disconnected_cb=note_loss,
                reconnected_cb=note_return,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_S,
                pending_size=0,  # what is asked of an absent broker fails at once, and is asked anew
            )
        except NATS_TROUBLE as error:
            await note_error(error)
            await asyncio.sleep(RETRY_S)
    try:
        yield connection
    finally:
        await connection.close()


async def ensured_stream(jetstream: JetStreamContext, max_bytes: int) -> StreamInfo:
    """The telemetry stream, made or brought to these bounds where it was not so."""
    config = StreamConfig(
        name=TELEMETRY_STREAM,
        subjects=[TELEMETRY_SUBJECTS],
        max_age=KEPT_S,
        max_bytes=max_bytes,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
    )
    try:
        await jetstream.update_stream(config)
    except NotFoundError:
        await jetstream.add_stream(config)
    return await jetstream.stream_info(TELEMETRY_STREAM)


@contextlib.asynccontextmanager
async def consumer_from(
    jetstream: JetStreamContext, start_sequence: int
) -> AsyncIterator[JetStreamContext.PullSubscription]:
    """A consumer of its own for whoever asks; the broker forgets it once it is unused."""
    config = ConsumerConfig(
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=start_sequence,
        inactive_threshold=UNUSED_CONSUMER_S,
        mem_storage=True,
    )
    consumer = await jetstream.pull_subscribe(TELEMETRY_SUBJECTS, stream=TELEMETRY_STREAM, config=config)
    try:
        yield consumer
    finally:
        with contextlib.suppress(*NATS_TROUBLE):
            await consumer.unsubscribe()


async def last_sequence(jetstream: JetStreamContext, engine: str) -> int:
    """Where the engine's newest message is in the stream; 0 where there is none."""
    try:
        message = await jetstream.get_last_msg(TELEMETRY_STREAM, telemetry_subject(engine))
    except NotFoundError:
        return 0
    return message.seq or 0
