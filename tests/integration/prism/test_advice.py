"""Decisions for those who send their requests themselves: a route that can be followed, a quote that changes nothing."""

from typing import Any

import pytest
import redis.asyncio

from shared.names import reserved_key
from tests.integration.prism.conftest import Announcer, Prism
from tests.integration.prism.fake_engine import FakeEngine
from tests.servers import Server
from tests.unit.prism.builders import MODEL

Engines = tuple[FakeEngine, FakeEngine]
COMPLETION = {"model": MODEL, "prompt": "Say something.", "max_tokens": 8}
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "Say something."}]}


async def _post(prism: Prism, path: str, body: object, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    async with prism.session.post(prism.url + path, json=body, headers=headers) as response:
        return response.status, await response.json()


async def _outstanding(prism: Prism, name: str) -> int:
    async with prism.session.get(f"{prism.url}/v1/engines") as response:
        engines = (await response.json())["engines"]
    return int(next(engine["outstanding_requests"] for engine in engines if engine["engine"] == name))


@pytest.mark.parametrize(("body", "path"), [(COMPLETION, "/v1/completions"), (CHAT, "/v1/chat/completions")])
async def test_a_route_says_where_to_send_a_request_and_with_which_headers(
    prism: Prism, two_engines: Engines, body: object, path: str
) -> None:
    fast, _ = two_engines
    asked_with = {"x-slo-ttft-ms": "60000", "x-synergy-tenant": "acme", "x-request-id": "mine", "authorization": "x"}
    status, route = await _post(prism, "/v1/route", body, asked_with)
    assert status == 200
    assert (route["engine"], route["url"], route["path"]) == ("fast", f"http://127.0.0.1:{fast.port}", path)
    assert route["predicted_ttft_ms"] > 0
    assert route["route_ms"] > 0
    headers = route["headers"]
    replica, _, number = headers["x-synergy-dispatch"].partition(":")
    assert (replica[:2], number) == ("r-", "1")
    assert (headers["x-synergy-tenant"], headers["x-request-id"]) == ("acme", "mine")
    assert 0 < float(headers["x-slo-ttft-ms"]) <= 60000
    assert "authorization" not in headers
    assert not fast.asked
    async with prism.session.post(route["url"] + route["path"], json=body, headers=headers) as response:
        assert response.status == 200


async def test_a_request_that_was_only_routed_has_room_reserved_until_its_engine_has_heard_of_it(
    prism: Prism, two_engines: Engines, announcer: Announcer, redis_process: Server
) -> None:
    fast, _ = two_engines
    async with redis.asyncio.from_url(redis_process.url) as database:
        _, route = await _post(prism, "/v1/route", COMPLETION)
        dispatch = route["headers"]["x-synergy-dispatch"]
        assert await database.hexists(reserved_key("fast"), dispatch)
        assert await _outstanding(prism, "fast") == 0  # nobody would say here when it ends
        await announcer.settle(fast, [dispatch])
        assert not await database.exists(reserved_key("fast"))


async def test_a_quote_foresees_every_engine_and_reserves_nothing(prism: Prism, two_engines: Engines) -> None:
    for _ in range(3):
        status, quote = await _post(prism, "/v1/slo/quote", CHAT, {"x-slo-ttft-ms": "2000"})
    assert (status, quote["model"], quote["refusal"]) == (200, MODEL, None)
    assert quote["promised"] == {"class": "default", "ttft_ms": 2000.0, "tpot_ms": None, "e2e_ms": None}
    assert quote["route"]["engine"] == "fast"
    foreseen = {engine["engine"]: engine["route"]["predicted_ttft_ms"] for engine in quote["engines"]}
    assert foreseen["slow"] > foreseen["fast"] > 0
    assert [await _outstanding(prism, name) for name in ("fast", "slow")] == [0, 0]
    assert not any(engine.asked for engine in two_engines)
    _, route = await _post(prism, "/v1/route", CHAT)
    assert route["headers"]["x-synergy-dispatch"].endswith(":1")


async def test_a_quote_says_that_a_request_would_be_refused_and_when_to_ask_again(
    prism: Prism, announcer: Announcer, fast: FakeEngine
) -> None:
    await announcer.announce(fast, draining=True)
    status, quote = await _post(prism, "/v1/slo/quote", COMPLETION)
    assert (status, quote["route"]) == (200, None)
    assert (quote["refusal"]["status"], quote["refusal"]["code"]) == (503, "engines_away")
    assert quote["refusal"]["retry_after_ms"] == 1000
    status, refused = await _post(prism, "/v1/route", COMPLETION)
    assert (status, refused["error"]["code"]) == (503, "engines_away")


@pytest.mark.parametrize("path", ["/v1/route", "/v1/slo/quote"])
@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": MODEL}, 400, "messages"),
        ([], 400, None),
        ({**CHAT, "prompt": "too"}, 400, "prompt"),
        ({**COMPLETION, "max_tokens": 0}, 400, "max_tokens"),
        ({**CHAT, "model": "gpt-5"}, 404, "model"),
    ],
)
async def test_what_cannot_be_run_is_refused_as_where_it_is_run(
    prism: Prism, two_engines: Engines, path: str, body: object, status: int, param: str | None
) -> None:
    got, answer = await _post(prism, path, body)
    assert (got, answer["error"]["param"]) == (status, param)
