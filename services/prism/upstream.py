"""The router's side towards lens: one request to one engine, its answer taken as bytes that nobody parses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self

import aiohttp

from services.prism.route import RETRY_AFTER_S
from shared.errors import EngineFailed
from shared.headers import RETRY_AFTER_MS

CONNECT_TIMEOUT_S = 1.0
RETRIED_STATUSES = (502, 503)
FULL_STATUS = 429

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

    def __init__(self, response: aiohttp.ClientResponse, first: bytes, idle_s: float) -> None:
        self.status = response.status
        self.headers = {
            name.lower(): value for name, value in response.headers.items() if name.lower() not in _NOT_FORWARDED
        }
        self.is_stream = response.content_type == "text/event-stream"
        self.first = first
        self._content = response.content
        self._idle_s = idle_s

    async def rest(self) -> AsyncIterator[bytes]:
        """The bytes after `first` as they come.

        Raises:
            EngineFailed: the engine broke off, or was silent for too long.
        """
        try:
            while chunk := await self._next():
                yield chunk
        except TimeoutError:  # aiohttp's own is one too
            raise EngineFailed("the engine was silent for too long") from None
        except (aiohttp.ClientError, OSError) as error:
            raise EngineFailed("the engine broke off while answering") from error

    async def _next(self) -> bytes:
        async with asyncio.timeout(self._idle_s):
            return await self._content.readany()


class Upstream:
    """Opens connections to every lens."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            # A connection each: one that is kept may be closed just when it is used again, and the engine look dead.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("accept", "accept-encoding", "user-agent", "content-type"),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

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
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=first_byte_s)
        async with contextlib.AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(
                    self._session.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False)
                )
                if response.status == FULL_STATUS:
                    raise EngineFull(await response.text(), _retry_after_s(response.headers))
                if response.status in RETRIED_STATUSES:
                    raise EngineAway(f"status {response.status}")
                first = await response.content.readany()
            except aiohttp.SocketTimeoutError:
                raise EngineFailed("the engine was silent for too long") from None
            except (aiohttp.ClientError, OSError) as error:
                raise EngineAway(str(error) or type(error).__name__) from error
            yield Answer(response, first, idle_s)


def _retry_after_s(headers: Mapping[str, str]) -> float:
    try:
        said_s = float(headers.get(RETRY_AFTER_MS, "")) / 1e3
    except ValueError:
        return RETRY_AFTER_S
    return said_s if 0.0 < said_s <= MOST_RETRY_AFTER_S else RETRY_AFTER_S
