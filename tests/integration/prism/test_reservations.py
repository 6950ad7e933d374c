"""What routers reserve in a real Redis: seen by all at once, settled by what engines have heard of, gone when nobody says anything."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import redis.asyncio
from structlog.testing import capture_logs

from loadgen.simulate.reservations import Reservations as InMemory
from services.lens.fleet import Fleet as LensFleet
from services.prism.decisions import Decision, Decisions
from services.prism.dispatches import Dispatches
from services.prism.fleet import Fleet
from services.prism.forecasts import FleetReader
from services.prism.intake import Intake
from services.prism.metrics import Metrics
from services.prism.mirror import Mirror
from services.prism.pending import NOTHING, Pending, interval_of
from services.prism.policies import least_tokens
from services.prism.prompt_size import Ask
from services.prism.reservations import Reservations
from services.prism.scripts import RedisAway, Scripts
from shared.engine_state import DUE_INTERVALS
from shared.fleet_scripts import ANNOUNCE, CHANGED, MARK, RELEASE, RESERVE, announcement
from shared.lifecycle import Readiness
from shared.names import CHANGES_KEY, RESERVATION_LIFETIME_S, engine_key, forecast_key, reserved_key
from shared.pacing import REFERENCE_TTFT_S
from shared.slo import Slo
from shared.standing import Standing
from shared.wire import encode
from tests.integration.prism.conftest import Announcer, Prism
from tests.integration.prism.fake_engine import FakeEngine, answer_status, drop
from tests.servers import Server, eventually
from tests.unit.prism.builders import MODEL, by_due, state

Engines = tuple[FakeEngine, FakeEngine]


class Replica:
    """One router without its HTTP side."""

    def __init__(self, url: str, name: str) -> None:
        self.scripts, mirror = Scripts(url, (CHANGED, RESERVE, RELEASE), timeout_s=5.0), Mirror()
        self.dispatches = Dispatches(name)
        self.reader = FleetReader(self.scripts, mirror, Readiness(), lambda: None)
        self.reservations = Reservations(self.scripts, mirror, name, lambda: None)
        self._decisions = Decisions(
            self.reader, self.dispatches, Metrics(), reservations=self.reservations, policy=least_tokens
        )

    async def decide(self, prompt_tokens: int = 100) -> Decision:
        intake = Intake(
            path="",
            body=b"",
            headers={},
            model=MODEL,
            stream=False,
            ask=Ask(prompt_tokens=prompt_tokens, output_tokens=10, most_output_tokens=10),
            slo=Slo(),
            standing=Standing(),
            arrived_at_s=time.monotonic(),
        )
        return await self._decisions.decide(intake)

    async def reserved(self, engine: str) -> Pending:
        """As this replica sees it."""
        fleet = await self.reader.read()
        assert fleet.reserved is not None
        return fleet.reserved.get(engine, NOTHING)

    def close(self) -> None:
        self.scripts.close()


@pytest.fixture
async def replicas(redis_process: Server) -> AsyncIterator[list[Replica]]:
    started = [Replica(redis_process.url, f"r{number}") for number in range(4)]
    yield started
    for replica in started:
        replica.close()


@pytest.fixture
async def store(redis_process: Server) -> AsyncIterator[Any]:
    client: Any = redis.asyncio.from_url(redis_process.url)
    yield client
    await client.aclose()


async def announce(store: Any, *names: str, settled: tuple[str, ...] = (), **changes: object) -> None:
    script = store.register_script(ANNOUNCE)
    for name in names:
        await script(args=announcement(state(name, **changes), settled))


def pending(requests: int, tokens: int) -> Pending:
    """On their way, without a target: due as lens reckons with those."""
    interval = interval_of(REFERENCE_TTFT_S)
    return Pending(by_due(requests, interval=interval), by_due(tokens, interval=interval))


async def requests_held(store: Any, engine: str) -> int:
    """As Redis itself counts them, due whenever."""
    counts = await store.hmget(reserved_key(engine), [f"requests#{number}" for number in range(1, DUE_INTERVALS + 1)])
    return sum(map(int, counts))


async def test_what_one_replica_reserves_the_others_see_at_once(replicas: list[Replica], store: Any) -> None:
    await announce(store, "a")
    first, second, *_ = replicas
    await second.reader.read()
    await first.decide(prompt_tokens=70)
    assert await second.reserved("a") == pending(1, 70)
    fleet = await second.reader.read()
    assert second.dispatches.loads(fleet, 0.0)["a"].pending_prompt_tokens == 70


async def test_the_state_that_shows_a_request_settles_its_reservation_in_whatever_order_they_arrive(
    replicas: list[Replica], store: Any
) -> None:
    await announce(store, "a")
    first, second, *_ = replicas
    for _ in range(3):
        await first.decide(prompt_tokens=100)
    await announce(store, "a", settled=("r0:3",), admitted={"r0": 3})  # 1 and 2 are on their way still
    assert await second.reserved("a") == pending(2, 200)
    await announce(store, "a", settled=("r0:1", "r0:2"))
    assert await second.reserved("a") == NOTHING
    assert not await store.exists(reserved_key("a"))


async def test_what_a_killed_replica_has_reserved_expires(replicas: list[Replica], store: Any) -> None:
    await announce(store, "a")
    killed, other, *_ = replicas
    await killed.decide()
    killed.scripts.close()
    assert await other.reserved("a") == pending(1, 100)

    async def is_settled() -> bool:
        await announce(store, "a")
        return await other.reserved("a") == NOTHING

    await asyncio.sleep(RESERVATION_LIFETIME_S - 1)
    assert not await is_settled()
    await eventually(is_settled, 5)


async def test_any_history_leaves_in_redis_what_it_leaves_in_memory(replicas: list[Replica], store: Any) -> None:
    """Expiry apart, which is by Redis's own clock."""
    await announce(store, "a", "b")
    in_memory, draws = InMemory(), random.Random(5)
    replica = replicas[0]
    await replica.reader.read()
    there: list[Any] = []
    for _ in range(300):
        move = draws.random()
        if move < 0.4 or not there:
            engine, due_in_s = draws.choice("ab"), draws.choice([0.1, 1.0, 30.0])
            dispatch = replica.dispatches.send(engine, draws.randint(1, 500), 0.0, due_in_s)
            in_memory.reserve(dispatch, "r0", 0.0)
            replaced = draws.choice(there) if there and draws.random() < 0.3 else None
            if replaced is not None:
                in_memory.release(replaced.engine, replaced.name("r0"))
            total = await replica.reservations.reserve(dispatch, replaced)
            assert total == in_memory.totals[dispatch.engine]
            there.append(dispatch)
        elif move < 0.7:
            dispatch = draws.choice(there)
            in_memory.release(dispatch.engine, dispatch.name("r0"))
            replica.reservations.release(dispatch)
        else:
            dispatch = draws.choice(there)
            in_memory.settle(dispatch.engine, [dispatch.name("r0")], 0.0)
            await announce(store, dispatch.engine, settled=(dispatch.name("r0"),))
        await replica.reader.read()  # behind the release, for which nobody waits
        assert (await replicas[1].reader.read()).reserved == in_memory.totals
    for name in "ab":
        await announce(store, name, settled=tuple(dispatch.name("r0") for dispatch in there))
    assert (await replicas[1].reader.read()).reserved == {}


@pytest.mark.parametrize("count", [1, 4])
async def test_a_burst_between_two_states_is_spread_as_evenly_by_four_replicas_as_by_one(
    replicas: list[Replica], store: Any, count: int
) -> None:
    names = "abcde"
    deciding = replicas[:count]
    await announce(store, *names)
    for replica in deciding:
        await replica.reader.read()
    decisions = await asyncio.gather(*(deciding[number % count].decide() for number in range(100)))
    taken = Counter(decision.route.engine for decision in decisions)
    # 20 each; at random the fullest would have 9 or so more than the emptiest, and all would be on one if nobody saw the others.
    assert max(taken.values()) - min(taken[name] for name in names) <= 7
    assert {name: await requests_held(store, name) for name in taken} == taken


async def test_sixteen_replicas_that_see_the_same_best_engine_do_not_all_take_it(
    redis_process: Server, store: Any
) -> None:
    await announce(store, "a")
    await announce(store, "b", "c", "d", "e", waiting_prefill_tokens=90)
    deciding = [Replica(redis_process.url, f"r{number}") for number in range(16)]
    for replica in deciding:
        await replica.reader.read()
    decisions = await asyncio.gather(*(replica.decide() for replica in deciding))
    taken = Counter(decision.route.engine for decision in decisions)
    assert max(taken.values()) <= 13  # all, if they did not choose again; how many do depends on who comes first
    assert {name: await requests_held(store, name) for name in taken} == taken
    for replica in deciding:
        replica.close()


@pytest.mark.parametrize("behaviour", [answer_status(429), answer_status(503), answer_status(400), drop])
async def test_a_request_that_its_engine_has_not_taken_is_released(
    prism: Prism, two_engines: Engines, store: Any, behaviour: Any
) -> None:
    fast, slow = two_engines
    fast.behaviour = slow.behaviour = behaviour
    async with prism.complete() as response:
        assert response.status >= 400
    assert fast.asked

    async def is_released() -> bool:
        return not any([await store.exists(reserved_key(engine.name)) for engine in two_engines])

    await eventually(is_released, 2)


async def test_an_answered_request_is_settled_by_its_engine_alone(
    prism: Prism, two_engines: Engines, announcer: Announcer, store: Any
) -> None:
    fast, _ = two_engines
    async with prism.complete() as response:
        assert response.status == 200
    key, [asked] = reserved_key(fast.name), fast.asked
    assert await store.hget(key, asked.headers["x-synergy-dispatch"])
    await announcer.settle(fast, [asked.headers["x-synergy-dispatch"]])
    assert not await store.exists(key)


async def test_only_what_has_changed_is_read(replicas: list[Replica], store: Any) -> None:
    await announce(store, "a", "b", "c")
    replica = replicas[0]
    before = await replica.reader.read()
    await announce(store, "b", decode_seqs=3)
    after = await replica.reader.read()
    assert [view.state.decode_seqs for view in after.engines] == [0, 3, 0]
    assert after.engines[0] is before.engines[0]
    assert after.engines[2] is before.engines[2]
    assert (await replica.reader.read()).engines is after.engines


async def test_a_redis_that_has_forgotten_everything_is_read_anew(replicas: list[Replica], store: Any) -> None:
    await announce(store, "a", "b")
    replica = replicas[0]
    await replica.decide()
    assert len((await replica.reader.read()).engines) == 2
    await store.flushall()
    await announce(store, "b")
    assert (await replica.reader.read()).reserved == {}

    async def only_b_is_left() -> bool:
        """The other has had time to announce itself again."""
        await announce(store, "b")
        return [view.state.engine for view in (await replica.reader.read()).engines] == ["b"]

    await eventually(only_b_is_left)


async def test_an_engine_that_says_nothing_is_dropped_when_its_key_expires_and_comes_back_whole(
    replicas: list[Replica], store: Any
) -> None:
    replica, forecast = replicas[0], FakeEngine("a").forecast(base_ms=10)
    await store.set(forecast_key("a"), encode(msgspec.structs.replace(forecast, steps_learned=7)))
    await announce(store, "a")

    async def names() -> list[str]:
        return [view.state.engine for view in (await replica.reader.read()).engines]

    assert await names() == ["a"]

    async def is_dropped() -> bool:
        exists, seen = await store.exists(engine_key("a")), await names()
        return not exists and not seen

    await eventually(is_dropped, 5)
    await announce(store, "a")
    assert [view.steps_learned for view in (await replica.reader.read()).engines] == [7]


async def test_what_is_marked_stays_bounded(store: Any) -> None:
    for _ in range(20):
        await announce(store, "a", "b")
    assert await store.zcard(CHANGES_KEY) == 1 + 2 * 3
    seconds, _ = await store.time()
    await store.zadd(CHANGES_KEY, {"old": (seconds - 70) * 1_000_000})
    await announce(store, "a")
    assert await store.zscore(CHANGES_KEY, "old") is None
    assert (await store.zrange(CHANGES_KEY, 0, 0))[0].startswith(b"life:")


async def test_a_key_that_holds_no_reservations_is_named_once_and_stops_nobody(
    replicas: list[Replica], store: Any
) -> None:
    await announce(store, "a")
    replica, key = replicas[0], reserved_key("a")
    await replica.reader.read()
    await store.set(key, "a text")
    with capture_logs() as logged:
        for _ in range(2):
            assert (await replica.decide()).route.engine == "a"
        replica.reservations.release(replica.dispatches.send("a", 1, 0.0, 1.0))
        assert not (await replica.reader.read()).stale
    [entry] = logged
    assert (entry["log_level"], entry["engine"], key in entry["problem"]) == ("warning", "a", True)
    assert await store.get(key) == b"a text"
    await store.delete(key)
    await replica.decide()
    assert await requests_held(store, "a") == 1


async def test_a_reservation_is_made_in_place_of_one_whose_key_holds_something_else(
    replicas: list[Replica], store: Any
) -> None:
    await announce(store, "a", "b")
    replica = replicas[0]
    await replica.reader.read()
    await store.set(reserved_key("a"), "a text")
    gone, instead = (replica.dispatches.send(name, 10, 0.0, 1.0) for name in "ab")
    assert await replica.reservations.reserve(instead, gone) is not None
    assert await requests_held(store, "b") == 1


async def test_an_engine_whose_key_holds_no_reservations_stays_in_the_pool_and_says_so(
    redis_process: Server, replicas: list[Replica], store: Any
) -> None:
    readiness, key = Readiness("redis"), reserved_key("a")
    lens, reader = LensFleet(redis_process.url, "a", readiness), replicas[0].reader
    await store.set(key, "a text")
    with capture_logs() as logged:
        for decode_seqs in (1, 2):
            assert await lens.announce(state("a", decode_seqs=decode_seqs))
            assert [view.state.decode_seqs for view in (await reader.read()).engines] == [decode_seqs]
    assert [key in entry["problem"] for entry in logged] == [True]
    assert key in readiness.problems["reservations"]
    await store.delete(key)
    assert await lens.announce(state("a"))
    assert not readiness.problems
    await lens.leave()


async def test_scripts_that_redis_has_lost_are_brought_again(replicas: list[Replica], store: Any) -> None:
    await announce(store, "a")
    replica = replicas[0]
    await replica.reader.read()
    await store.script_flush()
    with pytest.raises(RedisAway, match="NOSCRIPT"):
        await replica.scripts.call(RELEASE, "a", "r0:1")
    await replica.scripts.connect()
    assert await replica.scripts.call(RELEASE, "a", "r0:1") == b""


async def test_a_key_of_a_wrong_type_is_as_none_and_leaves_the_others_readable(
    replicas: list[Replica], store: Any
) -> None:
    await announce(store, "a", "b", "c", "d")
    await store.delete(engine_key("a"))
    await store.rpush(engine_key("a"), "a list")
    await store.rpush(forecast_key("b"), "a list")
    await store.set(reserved_key("c"), "a text")
    await store.hset(reserved_key("d"), "requests#1", "many")
    for replica in replicas[:2]:
        assert [view.state.engine for view in (await replica.reader.read()).engines] == ["b", "c", "d"]
        assert await replica.reserved("c") == await replica.reserved("d") == NOTHING
    mark = store.register_script(f"{MARK} mark(time_us(), ARGV)")
    await mark(args=[engine_key("a"), forecast_key("b"), reserved_key("c"), reserved_key("d")])
    await announce(store, "e")
    fleet = await replicas[0].reader.read()
    assert (not fleet.stale, [view.state.engine for view in fleet.engines]) == (True, ["b", "c", "d", "e"])


async def test_a_redis_with_a_password_lets_in_who_has_it(redis_process: Server, store: Any) -> None:
    await store.config_set("requirepass", "p@ss")
    without, wrong, right = (
        Scripts(redis_process.url.replace("//", f"//{user}"), (RELEASE,)) for user in ("", ":no@", ":p%40ss@")
    )
    for scripts, problem in ((without, "NOAUTH"), (wrong, "WRONGPASS")):
        with pytest.raises(RedisAway, match=problem):
            await scripts.connect()
        assert not scripts.connected
    await right.connect()
    assert await right.call(RELEASE, "a", "r:1") == b""
    right.close()


async def test_a_redis_that_does_not_answer_in_time_is_away(redis_process: Server, store: Any) -> None:
    scripts = Scripts(redis_process.url, (CHANGED,), timeout_s=0.2)
    await scripts.connect()
    await store.client_pause(600)
    with pytest.raises(RedisAway, match="in time"):
        await scripts.call(CHANGED, 0, "", 0)
    assert not scripts.connected
    with contextlib.suppress(RedisAway):
        await scripts.connect()
    scripts.close()


async def test_a_router_whose_redis_is_away_counts_by_its_own_ledger(
    redis_process: Server, replicas: list[Replica], store: Any
) -> None:
    await announce(store, "a", "b")
    replica = replicas[0]
    fleet: Fleet = await replica.reader.read()
    redis_process.stop()
    engines = Counter([(await replica.decide()).route.engine for _ in range(6)])
    assert engines == {"a": 3, "b": 3}
    assert (await replica.reader.read()).reserved is None
    assert fleet.reserved == {}
