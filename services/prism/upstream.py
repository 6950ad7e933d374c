"""The router's side towards lens: one request to one engine, its answer taken as bytes that nobody parses."""

import asyncio
import contextlib
import functools
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from services.prism.connection import Connection, ConnectionBroken, Takes
from services.prism.route import RETRY_AFTER_S
from shared.errors import EngineFailed
from shared.headers import RETRY_AFTER_MS

CONNECT_TIMEOUT_S = 1.0
CONNECT_LOOKS = 4
"""In so many pieces that time is waited for: a loop that is late itself must not take an engine for one that is away."""
KEPT_S = 2.0
"""A connection that has not been used for so long is not used again: servers close theirs after 5 s, as lens does."""
MOST_KEPT = 256
"""Free connections to one engine."""
RETRIED_STATUSES = (502, 503)
FULL_STATUS = 429

MOST_REFUSAL_BYTES = 16 * 1024
REFUSAL_S = 0.1
"""What a refusal says is read to its end where it is no longer and takes no longer: a new connection would cost more."""

_NOT_FORWARDED = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "date",
        "server",
    }
)
"""Headers of one hop, and what the server before the client writes itself."""


MOST_RETRY_AFTER_S = 3600.0
"""An engine that says more does not mean it."""


class _Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class _Free(NamedTuple):
    connection: Connection
    until_s: float


class EngineFull(Exception):
    """The engine is well, and takes nothing more now; another may.

    Attributes:
        retry_after_s: when it may again, as it says itself.
    """

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineAway(Exception):
    """The engine gave nothing yet and will not: another may be asked. Says why."""


class Answer:
    """An answer whose first bytes are here.

    Attributes:
        headers: those that concern the client, by lower-case name.
        first: the first bytes of the body; empty where there is no body.
    """

    def __init__(self, connection: Connection, first: bytes) -> None:
        self.status = connection.status
        self.headers = {name: value for name, value in connection.headers.items() if name not in _NOT_FORWARDED}
        self.is_stream = self.headers.get("content-type", "").partition(";")[0].strip() == "text/event-stream"
        self.first = first
        self._connection = connection

    async def rest(self, takes: Takes | None = None) -> AsyncIterator[bytes]:
        """The bytes after `first` as they come; what has piled up comes in one piece.

        Args:
            takes: is offered each piece as soon as it is here, while the next is waited for; what it takes is not given here.

        Raises:
            EngineFailed: the engine broke off, or was silent for too long.
        """
        try:
            while chunk := await self._connection.body(takes):
                yield chunk
        except ConnectionBroken as error:
            raise EngineFailed("the engine broke off while answering") from error


class Upstream:
    """Opens connections to every lens, and keeps those that are free for a while."""

    def __init__(self) -> None:
        self._free: dict[_Address, deque[_Free]] = {}
        """The latest used last."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for connections in self._free.values():
            for free in connections:
                free.connection.abort()
        self._free.clear()

    @contextlib.asynccontextmanager
    async def ask(
        self, url: str, body: bytes, headers: Mapping[str, str], *, first_byte_s: float, idle_s: float
    ) -> AsyncIterator[Answer]:
        """Send a request and wait for the first bytes of its answer; leaving the context cancels what is left of it.

        Args:
            first_byte_s: the longest wait for the first byte; the request may have to queue.
            idle_s: the longest wait for the next bytes after that.

        Raises:
            EngineFull: it says that it takes nothing more now.
            EngineAway: no connection, a connection that broke before the first byte, or a status that says so.
            EngineFailed: the engine was silent for too long.
        """
        address, target = _parsed(url)
        request = _request(address, target, body, headers)
        while True:
            connection, is_kept = self._kept(address), True
            if connection is None:
                connection, is_kept = await _connected(address), False
            try:
                try:
                    connection.send(request, first_byte_s)
                    first = await _first_bytes(connection)
                except ConnectionBroken as error:
                    if is_kept and not connection.touched:
                        continue  # the engine closed it as one that is not used: that says nothing of the engine
                    raise EngineAway(str(error)) from error
                connection.be_patient(idle_s)
                yield Answer(connection, first)
                return
            finally:
                self._leave(address, connection)

    def _kept(self, address: _Address) -> Connection | None:
        """A free connection that was used a moment ago."""
        connections = self._free.get(address, ())
        while connections:
            free = connections.pop()
            if not free.connection.closed and time.monotonic() < free.until_s:
                return free.connection
            free.connection.abort()
        return None

    def _leave(self, address: _Address, connection: Connection) -> None:
        if not connection.reusable:
            connection.abort()
            return
        connection.rest()
        connections = self._free.setdefault(address, deque())
        now_s = time.monotonic()
        connections.append(_Free(connection, now_s + KEPT_S))
        while connections[0].until_s < now_s or len(connections) > MOST_KEPT:
            connections.popleft().connection.abort()


async def _connected(address: _Address) -> Connection:
    loop = asyncio.get_running_loop()
    connecting = asyncio.ensure_future(loop.create_connection(Connection, address.host, address.port))
    try:
        for _ in range(CONNECT_LOOKS):
            if (await asyncio.wait((connecting,), timeout=CONNECT_TIMEOUT_S / CONNECT_LOOKS))[0]:
                return connecting.result()[1]
    except OSError as error:
        raise EngineAway(f"no connection to {address}: {error}") from error
    finally:
        await _given_up(connecting)
    raise EngineAway(f"no connection to {address} within {CONNECT_TIMEOUT_S:g} s")


async def _given_up(connecting: asyncio.Future[tuple[asyncio.Transport, Connection]]) -> None:
    """Have nothing of a connection that nobody waits for any more; one that was taken stays."""
    if not connecting.done():
        connecting.cancel()
        await asyncio.wait((connecting,))
        if not connecting.cancelled() and connecting.exception() is None:
            connecting.result()[1].abort()


async def _first_bytes(connection: Connection) -> bytes:
    await connection.head()
    if connection.status == FULL_STATUS or connection.status in RETRIED_STATUSES:
        await _read_refusal(connection)
    if connection.status == FULL_STATUS:
        raise EngineFull("it is full", _retry_after_s(connection.headers))
    if connection.status in RETRIED_STATUSES:
        raise EngineAway(f"status {connection.status}")
    return await connection.body()


async def _read_refusal(connection: Connection) -> None:
    """Read its body, which nobody wants, so that the connection can be used again; where that is not worth it, it is not."""
    length = connection.headers.get("content-length", "")
    if not (length.isdecimal() and len(length) <= len(str(MOST_REFUSAL_BYTES)) and int(length) <= MOST_REFUSAL_BYTES):
        return
    with contextlib.suppress(ConnectionBroken, EngineFailed, TimeoutError):
        async with asyncio.timeout(REFUSAL_S):
            while await connection.body():
                pass


@functools.lru_cache(maxsize=4096)
def _parsed(url: str) -> tuple[_Address, str]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EngineAway(f"its address {url!r} is none: {error}") from None
    if parts.scheme != "http" or not parts.hostname:
        raise EngineAway(f"its address {url!r} is none of http")
    return _Address(parts.hostname, port or 80), parts.path or "/"


def _request(address: _Address, target: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    said = {"host": str(address), **headers, "content-length": str(len(body))}
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1", "backslashreplace") + body


def _retry_after_s(headers: Mapping[str, str]) -> float:
    try:
        said_s = float(headers.get(RETRY_AFTER_MS, "")) / 1e3
    except ValueError:
        return RETRY_AFTER_S
    return said_s if 0.0 < said_s <= MOST_RETRY_AFTER_S else RETRY_AFTER_S
