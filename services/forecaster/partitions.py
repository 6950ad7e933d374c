"""Which partition an engine's telemetry is in, and which replica ought to have which partition: both the same for all who ask."""

from collections import Counter
from collections.abc import Collection
from hashlib import blake2b

_FNV_OFFSET = 0x811C9DC5
_FNV_PRIME = 0x01000193


def partition_of(engine: str, partitions: int) -> int:
    """Where JetStream's `partition(…)` puts the engine: FNV-1a of its name, modulo the number of partitions."""
    digest = _FNV_OFFSET
    for byte in engine.encode():
        digest = (digest ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return digest % partitions


def shares(members: Collection[str], partitions: int) -> tuple[str, ...]:
    """The member that ought to have each partition, by partition: evenly, and few move when members come and go.

    Rendezvous hashing with room: each partition goes to the member that draws the highest number for it among those
    that have room left, so that no two members' shares differ by more than one.

    Raises:
        ValueError: there are no members.
    """
    if not members:
        raise ValueError("partitions cannot be shared among no members")
    least, members_with_one_more = divmod(partitions, len(members))
    share: Counter[str] = Counter()
    owners = []
    for partition in range(partitions):
        most = least + (members_with_one_more > 0)
        owner = max((member for member in members if share[member] < most), key=lambda m: _draw(m, partition))
        share[owner] += 1
        members_with_one_more -= share[owner] > least
        owners.append(owner)
    return tuple(owners)


def _draw(member: str, partition: int) -> bytes:
    return blake2b(f"{partition}/{member}".encode(), digest_size=8).digest()
