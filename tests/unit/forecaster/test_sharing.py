import pytest

from services.forecaster.partitions import shares
from services.forecaster.sharing import BEAT_S, HANDOVER_LOOK_S, Claim, Lease, Replica, Standing, lost, moves

ME = Replica("one", "abcd")
FREE = Claim("", 0, -1.0)


def mine(epoch: int = 1, left_s: float = 4.0) -> Claim:
    return Claim(ME.holder, epoch, left_s)


def others(left_s: float, name: str = "two") -> Claim:
    return Claim(f"{name}#life", 3, left_s)


def test_one_alone_takes_everything_at_once():
    todo = moves(Standing(("one",), (FREE,) * 8), ME, ())
    assert todo.take == tuple(range(8))
    assert todo.give == ()


def test_a_restarted_replica_does_not_wait_for_its_earlier_life():
    earlier = Claim("one#earlier", 3, 3.9)
    assert moves(Standing(("one",), (earlier, FREE)), ME, ()).take == (0, 1)


def test_what_a_dead_replica_held_is_looked_at_when_its_lease_expires():
    todo = moves(Standing(("one",), (others(0.7), mine())), ME, {1})
    assert todo.wait == (0,)
    assert todo.look_again_s == pytest.approx(0.7)
    assert moves(Standing(("one",), (others(-0.1), mine())), ME, {1}).take == (0,)


def test_a_newcomer_is_given_its_share_and_looks_often_until_it_has_it():
    members = ("one", "two")
    owners = shares(members, 8)
    of_one, of_two = (tuple(p for p in range(8) if owners[p] == name) for name in members)
    assert len(of_one) == len(of_two) == 4
    before = Standing(members, (mine(),) * 8)
    assert moves(before, ME, range(8)).give == of_two
    newcomer = moves(before, Replica("two", "x"), ())
    assert newcomer == ((), (), of_two, HANDOVER_LOOK_S)
    after = Standing(members, tuple(FREE if p in of_two else mine() for p in range(8)))
    assert moves(after, Replica("two", "x"), ()).take == of_two
    assert moves(after, ME, of_one) == ((), (), (), BEAT_S)


def test_whoever_hesitates_neither_takes_nor_gives():
    todo = moves(Standing(("one",), (FREE, mine())), ME, {1}, hesitant=True)
    assert todo == ((), (), (0,), HANDOVER_LOOK_S)


def test_without_a_stream_there_is_nothing_to_do():
    assert moves(Standing(("one",), ()), ME, ()) == ((), (), (), BEAT_S)


@pytest.mark.parametrize(
    ("claim", "outcome"),
    [
        (mine(epoch=7), ((), ())),
        (mine(epoch=7, left_s=-1.0), ((), ())),
        (mine(epoch=8), ((), (0,))),
        (mine(epoch=6), ((), (0,))),
        (others(4.0), ((0,), ())),
        (Claim("one#earlier", 7, 4.0), ((0,), ())),
        (FREE, ((), (0,))),
    ],
    ids=[
        "held",
        "expired and taken by nobody",
        "own claim unheard",
        "Redis gone back",
        "taken",
        "another life",
        "lost",
    ],
)
def test_a_lease_is_held_as_long_as_redis_says_so(claim, outcome):
    assert lost({0: Lease(0, 7)}, ME, (claim,)) == outcome
