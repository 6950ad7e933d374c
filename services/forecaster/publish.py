"""What was learned, to Redis: forecasts within 20 ms or so, models and time series twice a second, each under its lease."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable

import msgspec
import structlog

from services.forecaster.learner import Learner, Lesson
from services.forecaster.outbox import Outbox, Portion
from services.forecaster.portions import fields, make
from services.forecaster.sharing import Lease, Replica
from services.forecaster.store import REDIS_TROUBLE, Refused, Store
from shared.lifecycle import Readiness
from shared.names import unreadable_model_key

log = structlog.get_logger()

LEAST_PAUSE_S = 0.005
PAUSE_OF_COST = 1.0
"""So much longer than preparing a write took is the pause after it: writing takes half of the time at most."""
PAUSE_OF_COST_BEHIND = 9.0
"""While telemetry waits to be learned, a tenth at most: nobody is served by stale forecasts in quick succession."""
SAVES_CHECKED_EVERY_S = 0.25
"""Without news: a save falls due by time alone."""
RETRY_S = 0.5


class Publisher:
    """Writes what the learner has learned. While Redis is away it keeps what is to be written, no more than Redis would.

    A partition's models go with its position and the time series that led there, in one write that counts only while the
    lease holds; so whoever takes over goes on from one moment of it, and no step is learned or listed twice. A write
    whose answer was lost is sent again as it was, before any other.

    Attributes:
        outbox: what is to be written.
        problem: why the latest write came to nothing; None where it did not.
    """

    def __init__(
        self,
        store: Store,
        replica: Replica,
        learner: Learner,
        readiness: Readiness,
        *,
        is_behind: Callable[[], bool],
        refused: Callable[[Refused], None],
    ) -> None:
        """`is_behind`: whether telemetry waits to be learned; `refused` is called for portions that Redis refused."""
        self.outbox = Outbox()
        self.problem: str | None = None
        self._store = store
        self._holder = replica.holder
        self._learner = learner
        self._readiness = readiness
        self._is_behind = is_behind
        self._refused = refused
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()
        self._unanswered: dict[Lease, msgspec.Raw] = {}

    def note(self, lesson: Lesson) -> None:
        """Something was learned; its forecast will be written within 20 ms and the time of a write."""
        self.outbox.note(lesson)
        self._news.set()

    def restate(self, partitions: Iterable[int]) -> None:
        """Redis may have lost what was written of these partitions: all of it is written again."""
        for held in [self._learner.held[partition] for partition in partitions if partition in self._learner.held]:
            self.outbox.restate(held.lease, held.models)
        self._news.set()

    async def run(self) -> None:
        """Write for ever; Redis may come and go."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAVES_CHECKED_EVERY_S):
                    await self._news.wait()
            try:
                cost_s = await asyncio.shield(self._write_due())  # cut in half, its outcome would be unknown
            except REDIS_TROUBLE as error:
                if self.problem is None:
                    log.warning("not written; kept, and tried again", problem=str(error))
                self.problem = str(error)
                self._readiness.lacks("redis", self.problem)
                await asyncio.sleep(RETRY_S)
            else:
                self.problem = None
                pause_of_cost = PAUSE_OF_COST_BEHIND if self._is_behind() else PAUSE_OF_COST
                await asyncio.sleep(max(LEAST_PAUSE_S, pause_of_cost * cost_s))

    async def hand_over(self, partitions: Iterable[int]) -> None:
        """Write all of these partitions, and give up their leases in the same act.

        Raises:
            RedisError, OSError: Redis is away; nothing was given up.
        """
        async with self._writing:
            await self._send_unanswered()
            now_s = time.monotonic()
            portions = [self.outbox.take_all(p, now_s) for p in partitions if p in self._learner.held]
            if portions:
                self._unanswered = self._encoded(portions, release=True)
                await self._send_unanswered()

    async def _write_due(self) -> float:
        """Write what is due; returns the processor time that preparing it took from learning, s."""
        async with self._writing:
            await self._send_unanswered()
            began_at_s = time.thread_time()
            now_s = time.monotonic()
            portions = self.outbox.take(now_s)
            if not self.outbox.has_more(now_s):
                self._news.clear()
            if not portions:
                return 0.0
            self._unanswered = self._encoded(portions, release=False)
            cost_s = time.thread_time() - began_at_s
            await self._send_unanswered()
            return cost_s

    async def _send_unanswered(self) -> None:
        """But for what was of a lease that has ended since; it is written anew, or learned again by another."""
        leases = set(self._learner.leases.values())
        portions = [encoded for lease, encoded in self._unanswered.items() if lease in leases]
        refused = await self._store.write(msgspec.msgpack.encode(portions)) if portions else ()
        self._unanswered = {}
        for refusal in refused:
            self._refused(refusal)

    def _encoded(self, portions: Iterable[Portion], *, release: bool) -> dict[Lease, msgspec.Raw]:
        written_at_s = self._store.time_s
        encoded = {}
        for portion in portions:
            partition = portion.lease.partition
            made = make(portion, self._learner, written_at_s)
            self.outbox.wrote(partition, made.forecasts)
            for engine, problem in made.broken.items():
                kept_as = unreadable_model_key(engine)
                log.warning("model broken; its engine is learned anew", engine=engine, problem=problem, kept_as=kept_as)
            position = self._learner.held[partition].position
            written = fields(portion, made, position, self._holder, release=release)
            encoded[portion.lease] = msgspec.Raw(msgspec.msgpack.encode(written))
        return encoded
