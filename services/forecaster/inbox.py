"""Where the messages of all partitions followed arrive: read, delivered in batches, and asked for as they are used up."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable

from nats.aio.client import Client
from nats.aio.msg import Msg

from services.forecaster.broker import NATS_TROUBLE, ask, engine_in
from services.forecaster.engine_model import Position
from services.forecaster.follower import Delivery, Follower
from services.forecaster.intake import Reading, read, unexpected
from services.forecaster.learner import Arrived

GATHER_S = 0.002
"""Messages that arrive in that time travel on together: the way through a channel costs more than a message."""


class Inbox:
    """One subscription for all consumers; what is in it is bounded by what was asked for.

    Attributes:
        followers: the consumers that are asked, by name; messages of others are let fall.
    """

    def __init__(self, deliver: Callable[[list[Arrived]], Awaitable[None]], troubled: Callable[[], None]) -> None:
        """`deliver` may take its time, and no more is asked for meanwhile; `troubled` is called when a consumer is."""
        self.followers: dict[str, Follower] = {}
        self._deliver = deliver
        self._troubled = troubled
        self._address = ""
        self._arrivals: list[Msg] = []
        self._arrived = asyncio.Event()
        self._delivering = False

    async def open(self, connection: Client) -> None:
        """Subscribe; nats-py does so again after every loss of the connection."""
        self._address = connection.new_inbox()
        # No limits here: it would drop what is over, and no more can come than was asked for.
        await connection.subscribe(f"{self._address}.*", cb=self._arrive, pending_msgs_limit=0, pending_bytes_limit=0)

    async def follow(self, connection: Client, follower: Follower) -> None:
        """Ask a new consumer for its first messages."""
        self.followers[follower.consumer] = follower
        await self._ask(connection, follower)

    def keep(self, followers: Iterable[Follower]) -> None:
        """Have done with all others."""
        self.followers = {follower.consumer: follower for follower in followers}

    def note_silence(self) -> None:
        """Look which consumers were silent for too long."""
        if self._arrivals or self._delivering:
            return  # it is this process that is late
        for follower in self.followers.values():
            follower.note_silence(time.monotonic())

    async def pump(self, connection: Client) -> None:
        """Deliver what arrives, and ask for as much again, for ever."""
        while True:
            await self._arrived.wait()
            await asyncio.sleep(GATHER_S)
            self._arrived.clear()
            messages, self._arrivals = self._arrivals, []
            now_s = time.monotonic()
            batch = [arrived for message in messages if (arrived := self._read(message, now_s)) is not None]
            if batch:
                self._delivering = True
                await self._deliver(batch)
                self._delivering = False
            with contextlib.suppress(*NATS_TROUBLE):  # a lost connection is noticed elsewhere, and all is asked anew
                for follower in list(self.followers.values()):
                    await self._ask(connection, follower)

    async def _ask(self, connection: Client, follower: Follower) -> None:
        if more := follower.to_ask():
            await ask(connection, follower.consumer, more, reply=f"{self._address}.{follower.consumer}")

    async def _arrive(self, message: Msg) -> None:
        self._arrivals.append(message)
        self._arrived.set()

    def _read(self, message: Msg, now_s: float) -> Arrived | None:
        if not message.reply:
            self._note_status(message, now_s)
            return None
        delivery = Delivery.of(message.reply)
        follower = self.followers.get(delivery.consumer)
        if follower is None:
            return None
        if not follower.accept(delivery, now_s):
            self._troubled()
            return None
        engine = engine_in(message.subject)
        position = Position(follower.stream, delivery.stream_sequence)
        return Arrived(follower.lease, position, engine, _read(engine, message.data))

    def _note_status(self, message: Msg, now_s: float) -> None:
        follower = self.followers.get(message.subject.rpartition(".")[2])
        if follower is not None:
            follower.note_status(message.headers or {}, now_s)
            if follower.problem is not None:
                self._troubled()


def _read(engine: str, data: bytes) -> Reading:
    """One message may be anything; it must not end the service on every replica in turn."""
    try:
        return read(engine, data)
    except Exception as error:  # noqa: BLE001
        return unexpected(data, error)
