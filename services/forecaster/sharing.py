"""What a replica should do about partitions, from what Redis says of all leases: take, keep, give away, look again when."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from services.forecaster.partitions import shares

LEASE_S = 4.0
"""Of silence, after which others take a replica's partitions."""
BEAT_S = 1.0
HANDOVER_LOOK_S = 0.2
"""How often a replica looks whether what it waits for has been given to it."""
LEAST_LOOK_S = 0.05


class Replica(NamedTuple):
    """One process among those that share the engines."""

    name: str
    """The same after a restart, so that it need not wait for the leases of its own earlier life."""
    life: str
    """Of this start alone."""

    @property
    def holder(self) -> str:
        """As a lease names it."""
        return f"{self.name}#{self.life}"


class Lease(NamedTuple):
    """The right to learn a partition; every acquisition by anybody has a higher epoch."""

    partition: int
    epoch: int


class Claim(NamedTuple):
    """What Redis says of one partition."""

    holder: str
    """Empty where nobody has it."""
    epoch: int
    """0 where nobody ever had it, or Redis has lost everything."""
    left_s: float
    """Until the lease expires; not positive where it has."""

    @property
    def is_free(self) -> bool:
        """Whether whoever asks may have it."""
        return not self.holder or self.left_s <= 0

    def is_of(self, name: str) -> bool:
        """Whether this replica, or an earlier life of it, holds it."""
        return self.holder.rpartition("#")[0] == name


class Standing(NamedTuple):
    """What Redis says of all."""

    members: tuple[str, ...]
    """Names of the replicas that live."""
    claims: tuple[Claim, ...]
    """By partition."""


class Moves(NamedTuple):
    """What to do now."""

    take: tuple[int, ...]
    give: tuple[int, ...]
    wait: tuple[int, ...]
    """This replica's share that others have still."""
    look_again_s: float


def lost(
    held: Mapping[int, Lease], replica: Replica, claims: tuple[Claim, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The partitions whose leases Redis does not have: those that others took, and those to be claimed again.

    Claimed again is what Redis has lost, and what it has as this replica's under another epoch: nobody else takes in its
    name, so that it was a claim of its own whose answer has not been heard.
    """
    taken, unclaimed = [], []
    for partition, lease in held.items():
        claim = claims[partition] if partition < len(claims) else Claim("", 0, 0.0)
        if not claim.epoch or (claim.holder == replica.holder and claim.epoch != lease.epoch):
            unclaimed.append(partition)
        elif claim.holder != replica.holder:
            taken.append(partition)
    return tuple(taken), tuple(unclaimed)


def moves(standing: Standing, replica: Replica, held: Collection[int], *, hesitant: bool = False) -> Moves:
    """Take what is this replica's share and free, give what is another's.

    Args:
        standing: what Redis says.
        replica: who asks.
        held: partitions that it holds.
        hesitant: whether others may be about to claim again what Redis has lost.
    """
    owners = shares(standing.members, len(standing.claims)) if standing.members else ()
    give = tuple(p for p in sorted(held) if p < len(owners) and owners[p] != replica.name)
    wanted = [p for p, owner in enumerate(owners) if owner == replica.name and p not in held]
    if hesitant:
        return Moves((), (), tuple(wanted), HANDOVER_LOOK_S)
    claims = standing.claims
    take = tuple(p for p in wanted if claims[p].is_free or claims[p].is_of(replica.name))
    wait = tuple(p for p in wanted if p not in take)
    soonest_s = min((_look_s(claims[p], standing.members) for p in wait), default=BEAT_S)
    return Moves(take, give, wait, min(max(soonest_s, LEAST_LOOK_S), BEAT_S))


def _look_s(claim: Claim, members: Collection[str]) -> float:
    will_be_given = claim.holder.rpartition("#")[0] in members
    return min(claim.left_s, HANDOVER_LOOK_S) if will_be_given else claim.left_s
