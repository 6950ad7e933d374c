"""Telemetry out of JetStream: a faust service that follows each partition held, through whatever NATS goes through."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

import faust
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext

from services.forecaster.broker import (
    NATS_TROUBLE,
    RETRY_S,
    Stream,
    connected,
    ensured_stream,
    forget_consumer,
    make_consumer,
)
from services.forecaster.follower import Follower
from services.forecaster.inbox import Inbox
from services.forecaster.learner import Arrived, Learner
from services.forecaster.sharing import Lease
from shared.lifecycle import Readiness, background

log = structlog.get_logger()

CONSUMERS_CHECKED_EVERY_S = 0.5
"""Where nothing stirs before."""
MANY_PENDING = 256


class StreamWanted(NamedTuple):
    """Of the telemetry stream, where it is to be made."""

    max_bytes: int
    partitions: int


class TelemetrySource(faust.Service):
    """Delivers the messages of the partitions that the learner holds, in order; a consumer in doubt is made anew.

    Nothing is acknowledged: how far telemetry was learned is known by the position that is stored with the models.

    Attributes:
        stream: the stream as it was last seen; None while the broker has not been reached.
    """

    abstract = False

    def __init__(
        self,
        nats_url: str,
        wanted: StreamWanted,
        learner: Learner,
        readiness: Readiness,
        *,
        deliver: Callable[[list[Arrived]], Awaitable[None]],
        noticed: Callable[[], None],
    ) -> None:
        """`deliver` may take its time, and no more is asked for meanwhile.

        `noticed` is called when the stream was seen to have another number of partitions than the learner.
        """
        super().__init__()
        self.stream: Stream | None = None
        self._nats_url = nats_url
        self._wanted = wanted
        self._learner = learner
        self._readiness = readiness
        self._noticed = noticed
        self._inbox = Inbox(deliver, troubled=self.stir)
        self._stirred = asyncio.Event()

    @property
    def num_pending(self) -> int:
        """Messages of the partitions followed that are in the stream and have not come yet."""
        return sum(follower.num_pending for follower in self._inbox.followers.values())

    @property
    def is_behind(self) -> bool:
        """Whether telemetry comes faster than it is learned."""
        return self.num_pending > MANY_PENDING

    def stir(self) -> None:
        """What the learner holds has changed, or a consumer is in trouble."""
        self._stirred.set()

    @faust.Service.task
    async def _keep_following(self) -> None:
        async with connected(self._nats_url, self._readiness, self._mistrust_all) as connection:
            await self._inbox.open(connection)
            async with background(self._inbox.pump(connection)):
                while not self.should_stop:
                    await self._mend(connection)

    def _mistrust_all(self) -> None:
        """After a loss of the connection: the broker may have forgotten consumers, or messages."""
        self._inbox.keep(())
        self.stream = None
        self.stir()

    async def _mend(self, connection: Client) -> None:
        """See that there is a good consumer for each lease and no other; then wait until something has changed."""
        self._stirred.clear()
        jetstream = connection.jetstream()
        try:
            self._inbox.note_silence()
            await self._let_go(jetstream)
            leases = self._learner.leases
            stream = self.stream if self._follows_all(leases.values()) else None
            stream = stream or await self._seen_stream(jetstream)  # after the leases: nobody has learned beyond its end
            self._inbox.keep(f for f in self._inbox.followers.values() if f.stream == stream.created)
            if stream.partitions == self._learner.partitions:
                for lease in leases.values():
                    if not self._follows_all((lease,)):
                        await self._follow(connection, stream, lease)
        except NATS_TROUBLE as error:
            self._readiness.lacks("nats", str(error) or type(error).__name__)
            self.stream = None
            await asyncio.sleep(RETRY_S)
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CONSUMERS_CHECKED_EVERY_S):
                    await self._stirred.wait()

    def _follows_all(self, leases: Iterable[Lease]) -> bool:
        return {follower.lease for follower in self._inbox.followers.values()}.issuperset(leases)

    async def _let_go(self, jetstream: JetStreamContext) -> None:
        leases = set(self._learner.leases.values())
        for follower in list(self._inbox.followers.values()):
            if follower.problem is not None:
                log.warning("consumer given up", partition=follower.lease.partition, problem=follower.problem)
                self._inbox.followers.pop(follower.consumer, None)
                self.stream = None  # the stream itself may be gone, or another
            elif follower.lease not in leases:
                self._inbox.followers.pop(follower.consumer, None)
                await forget_consumer(jetstream, follower.consumer)

    async def _seen_stream(self, jetstream: JetStreamContext) -> Stream:
        stream = await ensured_stream(jetstream, self._wanted.max_bytes, self._wanted.partitions)
        self._readiness.has("nats")
        self.stream = stream
        if stream.partitions != self._learner.partitions:
            asked = self._wanted.partitions
            if stream.partitions != asked:
                log.warning(
                    "the stream has its own number of partitions", partitions=stream.partitions, asked_for=asked
                )
            self._noticed()
        return stream

    async def _follow(self, connection: Client, stream: Stream, lease: Lease) -> None:
        if self._learner.leases.get(lease.partition) != lease:
            return
        self._learner.rewind(lease.partition, stream.end)
        learned = self._learner.held[lease.partition].position
        start_sequence = learned.sequence + 1 if learned.stream == stream.created else 1
        consumer = f"forecaster-{lease.partition}-{lease.epoch}-{secrets.token_hex(4)}"
        await make_consumer(connection.jetstream(), consumer, stream.subjects(lease.partition), start_sequence)
        await self._inbox.follow(connection, Follower(lease, stream.created, consumer, time.monotonic()))
        log.debug("telemetry followed", partition=lease.partition, epoch=lease.epoch, from_sequence=start_sequence)
