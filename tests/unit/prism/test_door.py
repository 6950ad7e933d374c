"""At the door: no key, a wrong key, a key that has made its requests; what a key says goes before what its client says."""

from collections.abc import Mapping
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from services.prism.door import Door, Guard, duration_text, grant_of
from services.prism.grants import Grant, digest_of
from services.prism.metrics import Metrics
from services.prism.rate_limits import RateLimits
from shared.asgi import respond

KEY = "sk-synergy-one"


class FixedKeys:
    """One key."""

    def __init__(self, grant: Grant) -> None:
        self._grants = {digest_of(KEY): grant}

    async def find(self, digest: str) -> Grant | None:
        return self._grants.get(digest)


class Inside:
    """The application behind the door; remembers whom it saw."""

    def __init__(self) -> None:
        self.seen: list[Grant | None] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(grant_of(scope))
        await respond(send, 200, b"{}", {})


async def _ask(door: Door, path: str, headers: Mapping[str, str], method: str = "POST") -> tuple[int, dict[str, str]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("no body is read at the door")

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await door({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def _door(inside: Inside, **bounds: Any) -> Door:
    return Door(inside, Guard(FixedKeys(Grant(tenant="acme", **bounds)), RateLimits(), lambda: 0.0), Metrics())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer  "},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer sk-synergy-two"},
        {"authorization": KEY},
        {"authorization": f"Bearer {digest_of(KEY)}"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/nothing"])
async def test_without_a_known_key_nobody_comes_in(headers: dict[str, str], path: str):
    inside = Inside()
    status, answered = await _ask(_door(inside), path, headers)
    assert (status, answered["www-authenticate"]) == (401, "Bearer")
    assert not inside.seen


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
async def test_a_key_that_is_known_comes_in_with_what_it_grants(scheme: str):
    inside = Inside()
    status, _ = await _ask(_door(inside), "/v1/completions", {"authorization": f"{scheme} {KEY}"})
    assert (status, inside.seen) == (200, [Grant(tenant="acme")])


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/openapi.json"])
async def test_health_metrics_and_the_description_need_no_key(path: str):
    inside = Inside()
    assert (await _ask(_door(inside), path, {}, "GET"))[0] == 200


async def test_a_key_that_has_made_its_requests_is_told_when_to_come_again():
    door, headers = _door(Inside(), requests_per_s=0.5, burst=2), {"authorization": f"Bearer {KEY}"}
    status, answered = await _ask(door, "/v1/completions", headers)
    said = {name: value for name, value in answered.items() if name.startswith("x-ratelimit-")}
    assert status == 200
    assert said == {
        "x-ratelimit-limit-requests": "2",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "2s",
    }
    await _ask(door, "/v1/completions", headers)
    status, answered = await _ask(door, "/v1/completions", headers)
    assert (status, answered["retry-after"], answered["retry-after-ms"]) == (429, "2", "2000")
    assert (answered["x-ratelimit-remaining-requests"], answered["x-ratelimit-reset-requests"]) == ("0", "4s")
    assert (await _ask(door, "/v1/models", headers, "GET"))[0] == 200


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(0.0, "0s"), (0.02, "20ms"), (1.0, "1s"), (1.5, "1.5s"), (59.9999, "1m0s"), (90.25, "1m30.25s"), (3600, "60m0s")],
)
def test_durations_are_written_as_openai_writes_them(duration_s: float, text: str):
    assert duration_text(duration_s) == text
