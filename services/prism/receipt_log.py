"""Receipts to a capped Redis stream, behind the requests: buffered, written in batches, and dropped where Redis is away."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

import redis.asyncio
import redis.exceptions
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.names import RECEIPTS_STREAM_KEY
from shared.receipt import Receipt
from shared.wire import encode

log = structlog.get_logger()

FIELD = "receipt"
"""Of a stream's entry."""
KEEP = f"""
for number = 2, #ARGV do
  redis.call("XADD", "{RECEIPTS_STREAM_KEY}", "MAXLEN", "~", ARGV[1], "*", "{FIELD}", ARGV[number])
end
"""
"""In one call, which has one answer: of ten its client makes them in two fifths of the time."""
GATHER_S = 0.2
MOST_A_BATCH = 64
"""Packing as many takes about a millisecond, for which requests wait."""
MOST_BUFFERED = 10_000
REDIS_TIMEOUT_S = 1.0
RETRY_S = 1.0
LAST_WORDS_S = 1.0
"""For what is buffered still when the router leaves."""


class ReceiptLog:
    """Takes receipts without waiting.

    Args:
        most_kept: entries in the stream, about; 0 keeps none.
        note_dropped: called with how many were dropped.
    """

    def __init__(self, redis_url: str, most_kept: int, note_dropped: Callable[[int], None]) -> None:
        self._redis = redis.asyncio.from_url(
            redis_url,
            socket_timeout=REDIS_TIMEOUT_S,
            socket_connect_timeout=REDIS_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._most_kept = most_kept
        self._keep = self._redis.register_script(KEEP)
        self._note_dropped = note_dropped
        self._buffer: deque[Receipt] = deque()
        self._waiting = asyncio.Event()
        self._writing = asyncio.Lock()
        self._is_away = False

    def add(self, receipt: Receipt) -> None:
        """Buffer one; the oldest goes where the buffer is full."""
        if not self._most_kept:
            return
        if len(self._buffer) >= MOST_BUFFERED:
            self._buffer.popleft()
            self._note_dropped(1)
        self._buffer.append(receipt)
        self._waiting.set()

    async def run(self) -> None:
        """Write for ever; Redis may come and go."""
        while True:
            await self._waiting.wait()
            await asyncio.sleep(RETRY_S if self._is_away else GATHER_S)
            await asyncio.shield(self._write_all())  # cut in half, nobody would know what was written

    async def aclose(self) -> None:
        """Write what is buffered, if that is soon done, and close the connections."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._write_all()
        if self._buffer:
            self._note_dropped(len(self._buffer))
            self._buffer.clear()
        await self._redis.aclose()

    async def _write_all(self) -> None:
        async with self._writing:
            while self._buffer:
                await self._write([self._buffer.popleft() for _ in range(min(len(self._buffer), MOST_A_BATCH))])
            self._waiting.clear()

    async def _write(self, batch: list[Receipt]) -> None:
        try:
            await self._keep(args=[self._most_kept, *map(encode, batch)])
        except (redis.exceptions.RedisError, OSError) as error:
            if not self._is_away:
                log.warning("redis is away; receipts are dropped", problem=str(error))
            self._is_away = True
            # All that waits goes too: what is tried now and again is as good as dropped, and memory is for requests.
            self._note_dropped(len(batch) + len(self._buffer))
            self._buffer.clear()
        else:
            self._is_away = False
