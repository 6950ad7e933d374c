"""Requests go where the forecasts of this moment say, and the answer says where and why."""

import asyncio

import msgspec
import pytest
from aiohttp import web

from shared.forecast import ModelHealth
from tests.integration.prism.conftest import Announcer, Prism
from tests.integration.prism.fake_engine import FakeEngine, hang
from tests.servers import eventually
from tests.unit.prism.builders import MODEL

Engines = tuple[FakeEngine, FakeEngine]


async def test_the_next_request_goes_where_the_forecast_just_written_says(
    prism: Prism, two_engines: Engines, announcer: Announcer
) -> None:
    fast, slow = two_engines
    async with prism.complete() as response:
        assert response.headers["x-synergy-engine"] == "fast"

    await announcer.forecast(fast.forecast(base_ms=200.0))
    async with prism.complete() as response:
        assert response.headers["x-synergy-engine"] == "slow"

    assert (len(fast.asked), len(slow.asked)) == (1, 1)


async def test_the_answer_says_which_engine_served_and_what_was_foreseen(prism: Prism, two_engines: Engines) -> None:
    async with prism.complete(headers={"x-request-id": "mine"}) as response:
        assert response.status == 200
        assert await response.json() == {"object": "text_completion", "choices": [{"text": "fine"}]}
        assert response.headers["x-request-id"] == "mine"
        assert response.headers["x-synergy-route-reason"] == "least-predicted"
        assert float(response.headers["x-synergy-predicted-ttft-ms"]) > 10
        assert float(response.headers["x-synergy-predicted-tpot-ms"]) >= 10


async def test_lens_gets_the_body_as_it_was_and_what_is_left_of_the_budget(prism: Prism, two_engines: Engines) -> None:
    fast, _ = two_engines
    body = b'{"model":"tiny",  "prompt":"\\u00e9", "max_tokens": 3}'
    headers = {
        "authorization": "Bearer secret",
        "cookie": "a=b",
        "content-type": "application/json",
        "x-slo-ttft-ms": "500",
        "x-llm-d-slo-tpot-ms": "60",
        "x-synergy-priority": "-5",
        "x-synergy-tenant": "acme",
        "connection": "keep-alive",
    }
    async with prism.session.post(f"{prism.url}/v1/completions", data=body, headers=headers) as response:
        assert response.status == 200
    asked = fast.asked[0]
    assert (asked.path, asked.body) == ("/v1/completions", body)
    assert 0 < float(asked.headers["x-slo-ttft-ms"]) < 500
    assert float(asked.headers["x-slo-tpot-ms"]) == 60
    assert asked.headers["x-slo-class"] == "default"
    assert (asked.headers["x-synergy-priority"], asked.headers["x-synergy-tenant"]) == ("-5", "acme")
    assert asked.headers["x-request-id"] == response.headers["x-request-id"]
    assert asked.headers["x-synergy-predicted-ttft-ms"] == response.headers["x-synergy-predicted-ttft-ms"]
    replica, number = asked.headers["x-synergy-dispatch"].split(":")
    assert replica.startswith("r-")
    assert number == "1"
    assert not {"authorization", "cookie", "x-llm-d-slo-tpot-ms"} & asked.headers.keys()


@pytest.mark.parametrize(("header", "value"), [("x-synergy-priority", "101"), ("x-synergy-tenant", "x" * 129)])
async def test_a_standing_that_lens_would_refuse_goes_no_further(
    prism: Prism, two_engines: Engines, header: str, value: str
) -> None:
    async with prism.complete(headers={header: value}) as response:
        assert (response.status, (await response.json())["error"]["param"]) == (400, header)
    assert not any(engine.asked for engine in two_engines)


@pytest.mark.parametrize("streams", [False, True])
async def test_the_client_sees_that_its_request_was_relegated(
    prism: Prism, two_engines: Engines, streams: bool
) -> None:
    fast, _ = two_engines
    kind = "text/event-stream" if streams else "application/json"

    async def relegated(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"data: {}\n\n", headers={"content-type": kind, "x-synergy-relegated": "true"})

    fast.behaviour = relegated
    async with prism.complete(stream=streams) as response:
        assert (response.status, response.headers["x-synergy-relegated"]) == (200, "true")


async def test_an_engine_is_in_the_pool_until_its_key_is_gone(
    prism: Prism, two_engines: Engines, announcer: Announcer
) -> None:
    fast, _ = two_engines
    assert sorted(await prism.engines_in_pool()) == ["fast", "slow"]
    await announcer.remove(fast)
    assert await prism.engines_in_pool() == ["slow"]


@pytest.mark.parametrize("away", [{"draining": True}, {"serving": False}])
async def test_an_engine_that_takes_nothing_new_gets_nothing_new(
    prism: Prism, two_engines: Engines, announcer: Announcer, away: dict[str, bool]
) -> None:
    fast, slow = two_engines
    await announcer.announce(fast, **away)
    async with prism.complete() as response:
        assert response.headers["x-synergy-engine"] == "slow"
    await announcer.announce(slow, **away)
    async with prism.complete() as response:
        assert response.status == 503
        assert response.headers["retry-after"] == "1"
        assert (await response.json())["error"]["code"] == "engines_away"
    status, body = await prism.get("/health/ready")
    assert status == 503
    assert msgspec.json.decode(body)["problems"] == {"engines": "no engine takes requests"}


async def test_values_that_cannot_be_read_leave_the_last_ones_in_use(
    prism: Prism, two_engines: Engines, announcer: Announcer
) -> None:
    async with prism.complete() as response:
        assert response.status == 200
    await announcer.set_raw("synergy:v1:forecast:fast", b'{"v": 99}')
    await announcer.set_raw("synergy:v1:engine:slow", b"not JSON")
    async with prism.complete() as response:
        assert response.headers["x-synergy-engine"] == "fast"
    assert sorted(await prism.engines_in_pool()) == ["fast", "slow"]


async def test_models_and_engines_show_the_fleet(prism: Prism, two_engines: Engines, announcer: Announcer) -> None:
    _, slow = two_engines
    await announcer.announce(slow, max_context_tokens=8192)
    await announcer.forecast(slow.forecast(base_ms=50, health=ModelHealth.WARMING))
    status, body = await prism.get("/v1/models")
    assert status == 200
    [card] = msgspec.json.decode(body)["data"]
    assert (card["id"], card["max_model_len"]) == (MODEL, 8192)

    _, body = await prism.get("/v1/engines")
    shown = msgspec.json.decode(body)
    assert shown["stale"] is False
    by_name = {engine["engine"]: engine for engine in shown["engines"]}
    assert by_name["slow"]["forecast"]["health"] == "warming"
    assert by_name["fast"]["forecast"]["steps_learned"] == 1000
    assert 0 <= by_name["fast"]["state_age_s"] < 30


async def test_a_burst_between_two_states_is_shared_out(
    prism: Prism, announcer: Announcer, fast: FakeEngine, slow: FakeEngine
) -> None:
    for engine in (fast, slow):
        await announcer.announce(engine)
        await announcer.forecast(engine.forecast(base_ms=10))
        engine.behaviour = hang
    tasks = [asyncio.create_task(_completed(prism)) for _ in range(20)]
    await eventually(lambda: len(fast.asked) + len(slow.asked) == 20)
    assert 7 <= len(fast.asked) <= 13
    for task in tasks:
        task.cancel()


async def _completed(prism: Prism) -> None:
    async with prism.complete(prompt="word " * 1600):
        pass


async def test_metrics_tell_decisions_and_ages(prism: Prism, two_engines: Engines) -> None:
    async with prism.complete() as response:
        assert response.status == 200
    async with prism.complete(model="other") as response:
        assert response.status == 404
    _, body = await prism.get("/metrics")
    text = body.decode()
    assert 'prism_requests_total{outcome="answered",status="200"} 1.0' in text
    assert 'prism_requests_total{outcome="refused",status="404"} 1.0' in text
    assert 'prism_routes_total{engine="fast",reason="least-predicted"} 1.0' in text
    assert 'prism_engine_state_age_seconds{engine="slow"}' in text
