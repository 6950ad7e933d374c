"""One connection to Redis on which scripts run in the order in which they are called, many on their way at once.

A decision waits for two of them, and a client library's own way of a call (a pool, a task's timeout, a parser in Python) would
take longer than all the rest of it. So every script answers with one string, which is all that is parsed here. And
order is worth as much: an answer tells of all calls before it, and of none after.
"""

import asyncio
import hashlib
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import redis.connection

TIMEOUT_S = 0.25
"""To connect, and for any answer; a connection that is slower is given up with all that wait on it."""

Argument = str | bytes | int


class RedisAway(Exception):
    """Redis does not answer, or not as it should. Says why."""


class ScriptFailed(RedisAway):
    """Redis is there and answered with an error."""


class Scripts:
    """Runs scripts; connects when told to.

    Attributes:
        connections: how many there have been; whatever was known of Redis before the latest may be of another Redis.
    """

    def __init__(self, redis_url: str, scripts: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
        self._place: dict[str, Any] = dict(redis.connection.parse_url(redis_url))  # type: ignore[no-untyped-call]  # redis has no types here
        self._heads = {
            script: _packed("EVALSHA", hashlib.sha1(script.encode()).hexdigest(), 0)  # noqa: S324 - Redis names them so
            for script in scripts
        }
        self._timeout_s = timeout_s
        self._wire: _Wire | None = None
        self._turn = asyncio.Lock()
        self.connections = 0

    @property
    def connected(self) -> bool:
        """Whether a script can be called now."""
        return self._wire is not None and self._wire.is_open

    async def connect(self) -> None:
        """Connect unless there is a connection.

        Raises:
            RedisAway: it could not be reached.
        """
        if self.connected:
            return
        async with self._turn:
            if self.connected:
                return
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._open()
            except (OSError, TimeoutError, RedisAway) as error:
                raise RedisAway(str(error) or "no connection in time") from error

    def call(self, script: str, *arguments: Argument) -> asyncio.Future[bytes]:
        """Send one of the scripts off, and get its answer to come. `connect` first.

        Raises:
            RedisAway: there is no connection. In place of an answer: it broke, or the script failed; it may have run.
        """
        if self._wire is None:
            raise RedisAway("not connected")
        # A name and the number of keys are three words of a command.
        command = b"*%d\r\n%b%b" % (3 + len(arguments), self._heads[script], _packed(*arguments))
        return self._wire.send(command)

    def close(self) -> None:
        """Let go of the connection."""
        if self._wire is not None:
            self._wire.give_up(RedisAway("closed"))
            self._wire = None

    async def _open(self) -> None:
        place = self._place
        secured = ssl.create_default_context(cafile=place.get("ssl_ca_certs")) if "connection_class" in place else None
        wire: _Wire
        _, wire = await asyncio.get_running_loop().create_connection(
            lambda: _Wire(self._timeout_s), place.get("host", "localhost"), place.get("port", 6379), ssl=secured
        )
        try:
            if place.get("password"):
                name = [place["username"]] if place.get("username") else []
                await wire.send(_command("AUTH", *name, place["password"]))
            if place.get("db"):
                await wire.send(_command("SELECT", place["db"]))
            for script in self._heads:
                await wire.send(_command("SCRIPT", "LOAD", script))
        except BaseException:
            wire.give_up(RedisAway("it was never ready"))
            raise
        self._wire = wire
        self.connections += 1


class _Wire(asyncio.Protocol):
    """Commands out, their answers in, in order; the first that is late ends it for all."""

    def __init__(self, timeout_s: float) -> None:
        self.is_open = False
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._asked: deque[tuple[asyncio.Future[bytes], float]] = deque()
        """Whose answers are to come, and when they would be late."""
        self._received = bytearray()
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def send(self, command: bytes) -> asyncio.Future[bytes]:
        """Send a command off, and get its answer to come."""
        if not self.is_open:
            raise RedisAway("the connection is closed")
        answer: asyncio.Future[bytes] = self._loop.create_future()
        late_s = self._loop.time() + self._timeout_s
        self._asked.append((answer, late_s))
        self._transport.write(command)
        if self._watch is None:
            self._watch = self._loop.call_at(late_s, self._look)
        return answer

    def give_up(self, problem: RedisAway) -> None:
        """End it; whoever waits is told why."""
        if not self.is_open:
            return
        self.is_open = False
        self._transport.abort()
        if self._watch is not None:
            self._watch.cancel()
        for answer, _ in self._asked:
            if not answer.done():
                answer.set_exception(problem)
        self._asked.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # those of uvloop are of no class of asyncio's
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.give_up(RedisAway(str(exc or "the connection broke")))

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._received and self.is_open:
            line_end = self._received.find(b"\r\n")
            if line_end < 0:
                return
            kind, said, begin = self._received[:1], bytes(self._received[1:line_end]), line_end + 2
            if kind == b"$":
                end = begin + int(said)
                if len(self._received) < end + 2:
                    return
                said = bytes(self._received[begin:end])
                begin = end + 2
            del self._received[:begin]
            answer, _ = self._asked.popleft()
            problem = None if kind in b"$+" else ScriptFailed(f"redis answered {said[:200].decode(errors='replace')}")
            if not answer.done():
                answer.set_result(said) if problem is None else answer.set_exception(problem)
            if problem is not None and said.startswith(b"NOSCRIPT"):
                self.give_up(problem)  # a new connection brings the scripts again

    def _look(self) -> None:
        """Whether the oldest answer is late; else look again when it would be."""
        self._watch = None
        if not self._asked:
            return
        late_s = self._asked[0][1]
        if late_s <= self._loop.time():
            self.give_up(RedisAway("no answer in time"))
        else:
            self._watch = self._loop.call_at(late_s, self._look)


def _packed(*words: Argument) -> bytes:
    """Words of a command as Redis reads them."""
    data = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in data])


def _command(*words: Argument) -> bytes:
    return b"*%d\r\n%b" % (len(words), _packed(*words))
