"""Keys over real connections and a real Redis: who comes in, as whose request, within which bounds, and with Redis away."""

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest
import redis.asyncio

from services.prism.door import Guard
from services.prism.grants import Grant, digest_of
from services.prism.key_store import KeyStore
from services.prism.rate_limits import RateLimits
from services.prism.rate_sharing import RateSharing
from shared.lifecycle import Readiness
from shared.names import API_KEYS_KEY, rate_key
from tests.integration.prism.conftest import Prism
from tests.integration.prism.fake_engine import FakeEngine
from tests.servers import Server, eventually
from tests.unit.prism.builders import MODEL

Engines = tuple[FakeEngine, FakeEngine]
KEY = "sk-synergy-acme"
BEARER = {"authorization": f"Bearer {KEY}"}
CLASSES = json.dumps({"interactive": {"ttft_ms": 300, "tpot_ms": 10}})


@pytest.fixture
def grant() -> dict[str, Any]:
    """What the key grants; a test that needs more overrides it."""
    return {"tenant": "acme", "priority_ceiling": 3}


@pytest.fixture
def prism_env(grant: dict[str, Any], tmp_path: Path) -> dict[str, object]:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({digest_of(KEY): grant}))
    return {"keys_file": path, "redis_keys": True, "slo_classes": CLASSES}


async def test_openais_client_is_refused_without_a_key_that_is_known_and_served_with_it(
    prism: Prism, two_engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    for key, expectation in (("wrong", pytest.raises(openai.AuthenticationError)), (KEY, None)):
        async with openai.AsyncOpenAI(base_url=f"{prism.url}/v1", api_key=key, max_retries=0) as client:
            if expectation is None:
                assert [model.id async for model in client.models.list()] == [MODEL]
                await client.completions.create(model=MODEL, prompt="Say something.")
                continue
            with expectation as caught:
                await client.completions.create(model=MODEL, prompt="Say something.")
            assert (caught.value.code, caught.value.type) == ("invalid_api_key", "invalid_request_error")
    assert not any("authorization" in asked.headers for engine in two_engines for asked in engine.asked)


async def test_the_key_says_whose_a_request_is_and_how_high_it_may_go(prism: Prism, two_engines: Engines) -> None:
    headers = {**BEARER, "x-synergy-tenant": "somebody-else", "x-synergy-priority": "50"}
    async with prism.complete(headers=headers) as response:
        assert response.status == 200
    [asked] = [asked for engine in two_engines for asked in engine.asked]
    assert (asked.headers["x-synergy-tenant"], asked.headers["x-synergy-priority"]) == ("acme", "3")


@pytest.mark.parametrize(
    "grant", [{"tenant": "a", "slo_class": "interactive", "least_ttft_ms": 500, "least_tpot_ms": 20}]
)
async def test_a_key_has_a_class_of_its_own_and_no_target_is_promised_tighter_than_it_allows(
    prism: Prism, two_engines: Engines
) -> None:
    async with prism.complete(headers={**BEARER, "x-slo-tpot-ms": "50"}) as response:
        promised = {name: response.headers[f"x-slo-{name}-ms"] for name in ("ttft", "tpot")}
    [asked] = [asked for engine in two_engines for asked in engine.asked]
    assert promised == {"ttft": "500.000", "tpot": "50.000"}
    assert asked.headers["x-slo-class"] == "interactive"
    assert 0 < float(asked.headers["x-slo-ttft-ms"]) <= 500


@pytest.mark.parametrize("grant", [{"tenant": "a", "models": ["other"]}])
async def test_a_model_that_a_key_may_not_use_is_not_there_for_it(prism: Prism, two_engines: Engines) -> None:
    async with prism.complete(headers=BEARER) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"], error["param"]) == (404, "model_not_found", "model")
    async with prism.session.get(f"{prism.url}/v1/models", headers=BEARER) as response:
        assert (await response.json())["data"] == []
    async with prism.session.get(f"{prism.url}/v1/engines", headers=BEARER) as response:
        assert (await response.json())["engines"] == []


@pytest.mark.parametrize("grant", [{"tenant": "a", "models": ["other", MODEL]}])
async def test_a_key_sees_the_engines_of_its_models_and_is_told_of_no_others(
    prism: Prism, two_engines: Engines
) -> None:
    async with prism.session.get(f"{prism.url}/v1/engines", headers=BEARER) as response:
        assert {engine["model"] for engine in (await response.json())["engines"]} == {MODEL}
    body = {"model": "other", "prompt": "hello"}
    async with prism.session.post(f"{prism.url}/v1/completions", json=body, headers=BEARER) as response:
        assert (response.status, MODEL in await response.text()) == (404, False)


@pytest.mark.parametrize("grant", [{"tenant": "a", "requests_per_s": 0.01, "burst": 2}])
async def test_a_key_that_has_made_its_requests_is_refused_by_openais_own_names(
    prism: Prism, two_engines: Engines
) -> None:
    for remaining in ("1", "0"):
        async with prism.complete(headers=BEARER) as response:
            assert (response.status, response.headers["x-ratelimit-remaining-requests"]) == (200, remaining)
    async with openai.AsyncOpenAI(base_url=f"{prism.url}/v1", api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.completions.create(model=MODEL, prompt="Say something.")
    assert caught.value.code == "rate_limit_exceeded"
    assert 0 < float(caught.value.response.headers["retry-after-ms"]) <= 100_000


async def test_a_key_in_redis_works_and_goes_on_working_while_redis_is_away(
    prism: Prism, two_engines: Engines, redis_process: Server
) -> None:
    async with redis.asyncio.from_url(redis_process.url) as store:
        await store.hset(API_KEYS_KEY, digest_of("kept"), '{"tenant": "kept"}')
        await store.hset(API_KEYS_KEY, digest_of("bad"), '{"tenant": ""}')
    for key, status in (("kept", 200), ("bad", 401), ("unknown", 401)):
        async with prism.complete(headers={"authorization": f"Bearer {key}"}) as response:
            assert (key, response.status) == (key, status)
    redis_process.kill()
    async with prism.complete(headers={"authorization": "Bearer never-seen"}) as response:
        assert response.status == 503
        assert (await response.json())["error"]["code"] == "keys_unavailable"
    for key, status in (("kept", 200), ("unknown", 401)):
        async with prism.complete(headers={"authorization": f"Bearer {key}"}) as response:
            assert (key, response.status) == (key, status)
    assert b"keys" in (await prism.get("/health/ready"))[1]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_key_withdrawn_from_redis_stops_working_once_it_is_asked_for_again(redis_process: Server) -> None:
    clock, digest = Clock(), digest_of(KEY)
    async with redis.asyncio.from_url(redis_process.url) as store:
        keys = KeyStore(store, [], Readiness(), clock)
        assert await keys.find(digest) is None
        await store.hset(API_KEYS_KEY, digest, '{"tenant": "acme"}')
        assert await keys.find(digest) is None
        clock.now_s += 5.0
        assert await asyncio.gather(*(keys.find(digest) for _ in range(20))) == [Grant(tenant="acme")] * 20
        await store.hset(API_KEYS_KEY, digest, "{")  # nobody should; what was read stays
        clock.now_s += 5.0
        assert await keys.find(digest) == Grant(tenant="acme")
        await store.hdel(API_KEYS_KEY, digest)
        clock.now_s += 5.0
        assert await keys.find(digest) is None


async def test_replicas_share_what_a_key_has_taken(redis_process: Server) -> None:
    digest, grant = digest_of(KEY), Grant(tenant="acme", requests_per_s=0.01, burst=4)

    class OneKey:
        async def find(self, digest: str) -> Grant | None:
            return grant

    async with redis.asyncio.from_url(redis_process.url) as store:
        limits = [RateLimits() for _ in range(3)]
        guards = [Guard(OneKey(), replica) for replica in limits]
        sharings = [RateSharing(store, replica) for replica in limits]
        for guard, sharing in zip(guards, sharings, strict=True):
            _, headers = await guard.admit("POST", BEARER)
            await sharing.share()
        assert headers["x-ratelimit-remaining-requests"] == "3"
        _, headers = await guards[2].admit("POST", BEARER)
        assert headers["x-ratelimit-remaining-requests"] == "0"
        await sharings[2].share()
        [key] = await store.keys("synergy:v1:rate:*")
        assert key == rate_key(digest).encode()
        assert 0 < await store.pttl(key) <= 400_001


@pytest.mark.parametrize("grant", [{"tenant": "a", "requests_per_s": 100}])
async def test_a_running_prism_says_in_redis_what_its_keys_have_taken(
    prism: Prism, two_engines: Engines, redis_process: Server
) -> None:
    async with redis.asyncio.from_url(redis_process.url) as store:
        seen: list[object] = []

        async def is_shared() -> bool:
            async with prism.complete(headers=BEARER) as response:
                assert response.status == 200
            seen.extend(await store.keys("synergy:v1:rate:*"))
            return bool(seen)

        await eventually(is_shared)
