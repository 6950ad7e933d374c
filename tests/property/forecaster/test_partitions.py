"""How partitions are shared among replicas, whatever their names and number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.forecaster.partitions import partition_of, shares

MEMBERS = st.sets(st.text("abcdefgh-0123456789", min_size=1, max_size=12), min_size=1, max_size=9)
PARTITIONS = st.integers(1, 128)


@given(MEMBERS, PARTITIONS)
def test_every_partition_is_somebodys_and_shares_differ_by_one_at_most(members, partitions):
    owners = shares(members, partitions)
    assert len(owners) == partitions
    counts = [owners.count(member) for member in members]
    assert sum(counts) == partitions
    assert max(counts) - min(counts) <= 1


@given(MEMBERS, PARTITIONS)
def test_all_replicas_come_to_the_same_shares(members, partitions):
    assert shares(sorted(members), partitions) == shares(sorted(members, reverse=True), partitions)


@given(st.integers(2, 9))
def test_few_partitions_move_when_a_replica_goes(num_members):
    members = [f"replica-{number}" for number in range(num_members)]
    before, after = shares(members, 128), shares(members[1:], 128)
    moved = sum(old != new for old, new in zip(before, after, strict=True))
    least = sum(owner == members[0] for owner in before)
    assert moved <= least + 128 // 4


@given(st.text(min_size=1), PARTITIONS)
def test_an_engine_is_in_one_of_the_partitions(engine, partitions):
    assert 0 <= partition_of(engine, partitions) < partitions


def test_nobody_can_share():
    with pytest.raises(ValueError, match="no members"):
        shares((), 4)
