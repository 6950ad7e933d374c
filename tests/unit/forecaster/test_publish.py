import msgspec
import pytest

from services.forecaster.engine_model import Position
from services.forecaster.intake import Reading
from services.forecaster.learner import Arrived, Learner
from services.forecaster.publish import Publisher
from services.forecaster.sharing import Lease, Replica
from services.forecaster.store import Refused
from shared.lifecycle import Readiness
from shared.telemetry import Telemetry
from tests.unit.forecaster.telemetry import mixed_step

OLD, NEW = Lease(0, 1), Lease(0, 2)


class Store:
    """Keeps what was sent; fails while it is away."""

    time_s = 5.0

    def __init__(self) -> None:
        self.is_away = False
        self.epochs: list[list[str]] = []

    async def write(self, portions: bytes) -> tuple[Refused, ...]:
        if self.is_away:
            raise ConnectionError("away")
        self.epochs.append([portion[3] for portion in msgspec.msgpack.decode(portions)])
        return ()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def learner():
    holder = Learner(10)
    holder.take(OLD, Position("", 0), ())
    return holder


@pytest.fixture
def publisher(store, learner):
    publishing = Publisher(
        store,
        Replica("one", "x"),
        learner,
        Readiness("redis"),
        is_behind=lambda: False,
        refused=lambda _refusal: None,
    )
    publishing.outbox.open(OLD, {}, 0.0)
    telemetry = Telemetry(engine="a", lens="x", sequence=1, reports=(mixed_step(1),))
    lesson = learner.learn(Arrived(OLD, Position("s", 1), "a", Reading(telemetry)))
    assert lesson is not None
    publishing.note(lesson)
    return publishing


async def unanswered(publisher: Publisher, store: Store) -> None:
    store.is_away = True
    with pytest.raises(ConnectionError):
        await publisher.hand_over([0])
    store.is_away = False


async def test_a_write_without_an_answer_is_sent_again_before_any_other(publisher, store):
    await unanswered(publisher, store)
    await publisher.hand_over([0])
    assert store.epochs == [["1"], ["1"]]


async def test_a_write_without_an_answer_is_dropped_when_its_lease_has_ended(publisher, store, learner):
    await unanswered(publisher, store)
    learner.renew(NEW)
    publisher.restate([0, 7])
    await publisher.hand_over([0])
    assert store.epochs == [["2"]]
