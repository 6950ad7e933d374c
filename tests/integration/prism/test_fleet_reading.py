"""How routers read the fleet from a real Redis: what has changed, whatever it has lost or holds in place of it."""

import contextlib
from collections import Counter
from typing import Any

import msgspec
import pytest

from services.prism.fleet import Fleet
from services.prism.pending import NOTHING
from services.prism.scripts import RedisAway, Scripts
from shared.fleet_scripts import CHANGED, MARK, RELEASE
from shared.names import CHANGES_KEY, engine_key, forecast_key, reserved_key
from shared.wire import encode
from tests.integration.prism.fake_engine import FakeEngine
from tests.integration.prism.replicas import Replica, announce
from tests.servers import Server, eventually


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
