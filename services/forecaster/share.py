"""This replica's part among all: beats, takes partitions that are its own to learn, hands over those that are another's."""

import asyncio
import contextlib
import time

import structlog

from services.forecaster.engine_model import Position
from services.forecaster.learner import Learner
from services.forecaster.publish import Publisher
from services.forecaster.sharing import BEAT_S, Moves, Replica, Standing, lost, moves
from services.forecaster.source import TelemetrySource
from services.forecaster.store import REDIS_TROUBLE, Refused, Store
from shared.lifecycle import Readiness

log = structlog.get_logger()

RETRY_S = 0.5
HESITATION_S = 2.5 * BEAT_S
"""After Redis has lost all leases: time for every replica to claim again what it has in memory."""


class Share:
    """The partitions that this replica holds, as Redis has it; the learner learns what is held and nothing else."""

    def __init__(
        self,
        store: Store,
        replica: Replica,
        learner: Learner,
        source: TelemetrySource,
        publisher: Publisher,
        readiness: Readiness,
    ) -> None:
        self._store = store
        self._replica = replica
        self._learner = learner
        self._source = source
        self._publisher = publisher
        self._readiness = readiness
        self._look = asyncio.Event()
        self._hesitant_until_s = 0.0
        self._has_seen_leases = False

    def look(self) -> None:
        """Look soon how things stand."""
        self._look.set()

    def refused(self, refusal: Refused) -> None:
        """A write has shown that a partition is not held any more, or is to be claimed again."""
        partition = refusal.lease.partition
        if refusal.is_taken and self._learner.leases.get(partition) == refusal.lease:
            self._lose(partition)
        self.look()

    async def run(self) -> None:
        """Hold this replica's share for ever; Redis may come and go."""
        while True:
            self._look.clear()
            try:
                look_again_s = await self._step()
            except REDIS_TROUBLE as error:
                self._readiness.lacks("redis", str(error))
                look_again_s = RETRY_S
            else:
                if self._publisher.problem is None:
                    self._readiness.has("redis")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(look_again_s):
                    await self._look.wait()

    async def leave(self) -> None:
        """Give everything to whoever is there.

        Raises:
            RedisError, OSError: Redis is away; others take over when the leases expire.
        """
        await self._give(tuple(self._learner.held))
        await self._store.leave()

    async def _step(self) -> float:
        """Returns after how long to look again, s."""
        await self._agree_on_partitions()
        held = self._learner.leases
        standing = await self._store.beat(held.values(), self._learner.partitions)
        if self._store.is_new:
            self._publisher.restate(self._learner.held)
        taken, unclaimed = lost(held, self._replica, standing.claims)
        for partition in taken:
            self._lose(partition)
        if self._lost_leases(standing) or self._store.is_new or unclaimed:
            self._hesitant_until_s = time.monotonic() + HESITATION_S
        if unclaimed := tuple(partition for partition in unclaimed if partition in self._learner.held):
            await self._claim_again(unclaimed)
        hesitant = time.monotonic() < self._hesitant_until_s
        todo = moves(standing, self._replica, self._learner.held, hesitant=hesitant)
        await self._give(todo.give)
        await self._take(todo.take)
        self._tell(todo)
        return todo.look_again_s

    def _lost_leases(self, standing: Standing) -> bool:
        """Whether Redis had leases when it was last looked at and has none now, whoever held them."""
        had, self._has_seen_leases = self._has_seen_leases, any(claim.epoch for claim in standing.claims)
        return had and bool(standing.claims) and not self._has_seen_leases

    def _tell(self, todo: Moves) -> None:
        waiting = len(todo.wait) + len([partition for partition in todo.take if partition not in self._learner.held])
        if not self._learner.partitions:
            self._readiness.lacks("partitions", "not known before the stream")
        elif waiting:
            self._readiness.lacks("partitions", f"waiting for {waiting} that others have")
        else:
            self._readiness.has("partitions")

    async def _agree_on_partitions(self) -> None:
        stream = self._source.stream
        if stream is not None and stream.partitions != self._learner.partitions:
            await self._give(tuple(self._learner.held))
            self._learner.partitions = stream.partitions

    async def _take(self, partitions: tuple[int, ...]) -> None:
        if not partitions:
            return
        grants = await self._store.take(dict.fromkeys(partitions, 0))
        stored = await self._store.read([grant.lease.partition for grant in grants], self._learner.partitions)
        for lease, position in grants:
            models, forecasts, has_unreadable = stored[lease.partition]
            self._learner.take(lease, Position("", 0) if has_unreadable else position, models)
            self._publisher.outbox.open(lease, forecasts, time.monotonic())
        log.info(
            "partitions taken",
            partitions=[grant.lease.partition for grant in grants],
            engines=self._learner.num_engines,
        )
        self._source.stir()

    async def _claim_again(self, partitions: tuple[int, ...]) -> None:
        """Redis has lost the leases, or the answer that granted them: put back what is in memory, unless another was first."""
        held = self._learner.leases
        grants = await self._store.take({partition: held[partition].epoch for partition in partitions})
        for lease, _ in grants:
            self._learner.renew(lease)
        self._publisher.restate(grant.lease.partition for grant in grants)
        for partition in set(partitions).difference(grant.lease.partition for grant in grants):
            self._lose(partition)
        log.warning(
            "Redis did not have the leases; claimed again", partitions=[grant.lease.partition for grant in grants]
        )
        self._source.stir()

    async def _give(self, partitions: tuple[int, ...]) -> None:
        if not partitions:
            return
        await self._publisher.hand_over(partitions)
        for partition in partitions:
            self._drop(partition)
        log.info("partitions handed over", partitions=partitions)

    def _lose(self, partition: int) -> None:
        if partition in self._learner.held:
            log.warning("partition is another replica's now", partition=partition)
            self._drop(partition)

    def _drop(self, partition: int) -> None:
        self._learner.drop(partition)
        self._publisher.outbox.close(partition)
        self._source.stir()
