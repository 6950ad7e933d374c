"""NATS as the source needs it: a connection that lasts, the bounded and partitioned stream, consumers that acknowledge nothing."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    StorageType,
    StreamConfig,
    SubjectTransform,
)
from nats.js.errors import NotFoundError

from services.forecaster.engine_model import Position
from services.forecaster.follower import HEARTBEAT_S, REQUEST_S
from services.forecaster.partitions import partition_of
from shared.lifecycle import Readiness
from shared.names import FORECASTER_INBOX, TELEMETRY_STREAM, TELEMETRY_SUBJECTS, partition_subjects

NATS_TROUBLE = (nats.errors.Error, TimeoutError, OSError)
RETRY_S = 0.5
RECONNECT_S = 1
KEPT_S = 3600.0
UNUSED_CONSUMER_S = 30.0

_TRANSFORM = re.compile(r"\{\{\s*partition\((?P<partitions>\d+),\s*1\)\s*\}\}")


class Stream(NamedTuple):
    """The telemetry stream as it is now."""

    created: str
    partitions: int
    last_sequence: int
    unpartitioned: tuple[str, ...]
    """Subjects of messages that were stored before the stream had partitions."""

    @property
    def end(self) -> Position:
        """The place of its last message."""
        return Position(self.created, self.last_sequence)

    def subjects(self, partition: int) -> list[str]:
        """The subjects that the messages of a partition's engines have in the stream."""
        earlier = (s for s in self.unpartitioned if partition_of(engine_in(s), self.partitions) == partition)
        return [partition_subjects(partition), *earlier]


def engine_in(subject: str) -> str:
    """The engine that a subject names, with or without its partition."""
    return subject.rpartition(".")[2]


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
                inbox_prefix=FORECASTER_INBOX,
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


async def ensured_stream(jetstream: JetStreamContext, max_bytes: int, partitions: int) -> Stream:
    """The telemetry stream, made or brought to these bounds where it was not so.

    It keeps the number of partitions that it has, whatever is asked for: all replicas read it from here.
    """
    try:
        before = (await jetstream.stream_info(TELEMETRY_STREAM)).config
    except NotFoundError:
        await jetstream.add_stream(_config(max_bytes, partitions))
    else:
        partitions = _partitions_in(before) or partitions
        await jetstream.update_stream(_config(max_bytes, partitions))
    info = await jetstream.stream_info(TELEMETRY_STREAM, subjects_filter=TELEMETRY_SUBJECTS)
    unpartitioned = tuple(info.state.subjects or ())
    return Stream(str(info.created), _partitions_in(info.config) or partitions, info.state.last_seq, unpartitioned)


def _config(max_bytes: int, partitions: int) -> StreamConfig:
    return StreamConfig(
        name=TELEMETRY_STREAM,
        subjects=[TELEMETRY_SUBJECTS],
        subject_transform=SubjectTransform(
            TELEMETRY_SUBJECTS, partition_subjects(f"{{{{partition({partitions},1)}}}}").replace("*", "{{wildcard(1)}}")
        ),
        max_age=KEPT_S,
        max_bytes=max_bytes,
        discard=DiscardPolicy.OLD,
        storage=StorageType.FILE,
    )


def _partitions_in(config: StreamConfig) -> int | None:
    transform = config.subject_transform
    found = _TRANSFORM.search(transform.dest) if transform is not None else None
    return int(found["partitions"]) if found else None


async def make_consumer(jetstream: JetStreamContext, name: str, subjects: Iterable[str], start_sequence: int) -> None:
    """A consumer of these subjects from there on; the broker forgets it once it is unused."""
    config = ConsumerConfig(
        name=name,
        filter_subjects=list(subjects),
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=start_sequence,
        inactive_threshold=UNUSED_CONSUMER_S,
        mem_storage=True,
    )
    await jetstream.add_consumer(TELEMETRY_STREAM, config)


async def forget_consumer(jetstream: JetStreamContext, name: str) -> None:
    """Spare the broker a consumer that nobody needs; one that is left behind it forgets of itself."""
    with contextlib.suppress(*NATS_TROUBLE):
        await jetstream.delete_consumer(TELEMETRY_STREAM, name)


async def ask(connection: Client, consumer: str, messages: int, reply: str) -> None:
    """Ask for the consumer's next messages, which come to `reply`, each as soon as it is there."""
    request = {
        "batch": messages,
        "expires": round(REQUEST_S * 1e9),
        "idle_heartbeat": round(HEARTBEAT_S * 1e9),
    }
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{TELEMETRY_STREAM}.{consumer}"
    await connection.publish(subject, msgspec.json.encode(request), reply=reply)
