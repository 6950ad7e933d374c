"""The client against a real HTTP server, whose streams are written by hand."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from loadgen.client import FIRST_WAIT_S, Client, open_session
from loadgen.outcome import Outcome
from loadgen.workload import Request
from shared.slo import Slo

REQUEST = Request(
    arrival_s=0.0, prompt="Why do cats purr?", max_tokens=16, slo=Slo(name="interactive", ttft_s=2.5, tpot_s=0.25)
)
PIECES = (
    b": keep-alive\n\n",
    b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}, "finish_reason": null}]}\n\n',
    b'data: {"choices": [{"delta": {"content": "They a',
    b're content."}, "finish_reason": null}]}\n\n',
    b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": null}\n\n',
    b'data: {"choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}}\n\n',
    b"data: [DONE]\n\n",
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Ask = Callable[..., Awaitable[Outcome]]


def streams(*pieces: bytes, headers: dict[str, str] | None = None) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **(headers or {})})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        return response

    return answer


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    runners: list[web.AppRunner] = []

    async def ask(answer: Answer, timeout_s: float = 5.0, request: Request = REQUEST, **told: Any) -> Outcome:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        app.router.add_post("/v1/completions", answer)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with open_session("a-key", "a-tenant") as session:
            client = Client(session, url, "a-model", started_at_s=time.monotonic(), timeout_s=timeout_s, **told)
            return await client.send(request)

    yield ask
    for runner in runners:
        await runner.cleanup()


async def test_an_answer_is_read_with_its_times_usage_and_headers(ask: Ask) -> None:
    predictions = {"x-synergy-predicted-ttft-ms": "300.000", "x-synergy-predicted-tpot-ms": "50.000"}
    outcome = await ask(streams(*PIECES, headers={"x-synergy-engine": "large", **predictions}))
    assert outcome.problem is None
    assert outcome.text == "They are content."
    assert (outcome.engine, outcome.predicted_ttft_s, outcome.predicted_tpot_s) == ("large", 0.3, 0.05)
    assert (outcome.prompt_tokens, outcome.output_tokens, outcome.finish_reason) == (12, 5, "stop")
    assert outcome.ttft_s is not None
    assert outcome.e2e_s is not None
    assert 0 < outcome.ttft_s <= outcome.e2e_s


async def test_the_request_asks_for_a_stream_with_usage_and_says_its_targets(ask: Ask) -> None:
    seen: dict[str, Any] = {}

    async def note(request: web.Request) -> web.StreamResponse:
        seen.update(await request.json())
        seen["headers"] = request.headers
        return await streams(*PIECES)(request)

    await ask(note)
    assert (seen["model"], seen["max_tokens"], seen["stream"]) == ("a-model", 16, True)
    assert seen["messages"] == [{"role": "user", "content": "Why do cats purr?"}]
    assert seen["stream_options"] == {"include_usage": True}
    assert seen["headers"]["x-slo-class"] == "interactive"
    assert float(seen["headers"]["x-slo-ttft-ms"]) == 2500
    assert float(seen["headers"]["x-slo-tpot-ms"]) == 250


async def test_a_session_is_sent_as_the_user(ask: Ask) -> None:
    users = []

    async def answer(request: web.Request) -> web.StreamResponse:
        users.append((await request.json()).get("user"))
        return await streams(*PIECES)(request)

    await ask(answer)
    await ask(answer, request=msgspec.structs.replace(REQUEST, session="s-1"))
    assert users == [None, "s-1"]


async def test_targets_may_go_without_the_classs_name(ask: Ask) -> None:
    seen: dict[str, str] = {}

    async def note(request: web.Request) -> web.StreamResponse:
        seen.update(request.headers)
        return await streams(*PIECES)(request)

    await ask(note, say_class=False)
    assert "x-slo-class" not in seen
    assert float(seen["x-slo-ttft-ms"]) == 2500


async def test_a_refusal_is_told_with_its_status_and_message(ask: Ask) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "no room now", "type": "rate_limit_error"}}, status=429)

    outcome = await ask(refuse)
    assert outcome.status == 429
    assert outcome.problem == "429: no room now"


async def test_an_error_in_the_stream_keeps_what_came_before_it(ask: Ask) -> None:
    outcome = await ask(streams(*PIECES[:4], b'data: {"error": {"message": "the engine has gone"}}\n\n'))
    assert outcome.problem == "the engine has gone"
    assert outcome.text == "They are content."


async def test_a_stream_that_just_ends_is_a_problem(ask: Ask) -> None:
    outcome = await ask(streams(*PIECES[:-1]))
    assert outcome.problem == "the stream ended without [DONE]"


async def test_a_server_that_does_not_answer_in_time_is_a_problem() -> None:
    async def accept(_reader: Any, _writer: Any) -> None:
        await never.wait()

    never = asyncio.Event()
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with aiohttp.ClientSession() as session:
        outcome = await Client(session, url, "a-model", started_at_s=time.monotonic(), timeout_s=0.1).send(REQUEST)
    never.set()
    server.close()
    assert outcome.problem is not None
    assert outcome.status is None


async def test_nobody_listening_is_a_problem(unused_tcp_port: int) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{unused_tcp_port}"
        outcome = await Client(session, url, "a-model", started_at_s=time.monotonic(), timeout_s=1.0).send(REQUEST)
    assert "Cannot connect" in str(outcome.problem)


async def test_the_key_goes_with_the_request_as_openai_has_it(ask: Ask) -> None:
    seen: list[str | None] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append(request.headers.get("authorization"))
        return await streams(*PIECES)(request)

    await ask(note)
    assert seen == ["Bearer a-key"]


async def test_plain_completions_are_asked_for_with_a_prompt(ask: Ask) -> None:
    seen: dict[str, Any] = {}
    text = (b'data: {"choices": [{"text": "They a', b're content.", "finish_reason": "stop"}]}\n\n')

    async def note(request: web.Request) -> web.StreamResponse:
        seen.update(await request.json(), path=request.path)
        return await streams(*text, *PIECES[-2:])(request)

    outcome = await ask(note, chat=False)
    assert (seen["path"], seen["prompt"], seen.get("messages")) == ("/v1/completions", "Why do cats purr?", None)
    assert (outcome.problem, outcome.text) == (None, "They are content.")


async def test_gaps_between_texts_are_measured(ask: Ask) -> None:
    word = b'data: {"choices": [{"delta": {"content": " a"}}]}\n\n'

    async def slowly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(3):
            await response.write(word)
            await asyncio.sleep(0.02)
        for piece in PIECES[-3:]:
            await response.write(piece)
        return response

    outcome = await ask(slowly)
    assert len(outcome.itl_s) == 2
    assert min(outcome.itl_s) > 0.01


def refuses(*refusals: web.Response) -> tuple[Answer, list[float]]:
    """Refuses the first requests, answers those after; and the instants at which they came."""
    left, came_at_s = list(refusals), []

    async def answer(request: web.Request) -> web.StreamResponse:
        came_at_s.append(time.monotonic())
        return left.pop(0) if left else await streams(*PIECES)(request)

    return answer, came_at_s


def a_refusal(status: int, **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.json_response({"error": {"message": "not now"}}, status=status, headers=named)


async def test_retries_are_one_request_whose_times_count_from_the_first(ask: Ask) -> None:
    answer, came_at_s = refuses(a_refusal(429, retry_after_ms="50"), a_refusal(503, retry_after="0.1"))
    outcome = await ask(answer, retries=2)
    assert (outcome.problem, outcome.attempts, outcome.status) == (None, 3, 200)
    assert came_at_s[1] - came_at_s[0] >= 0.05
    assert came_at_s[2] - came_at_s[1] >= 0.1
    assert outcome.ttft_s is not None
    assert outcome.ttft_s >= 0.15


@pytest.mark.parametrize("after", ["nan", "inf", "-1", "Wed, 21 Oct 2099 07:28:00 GMT"])
async def test_a_wait_that_cannot_be_kept_counts_as_not_said(ask: Ask, after: str) -> None:
    answer, came_at_s = refuses(a_refusal(429, retry_after=after))
    outcome = await ask(answer, retries=1)
    assert (outcome.problem, outcome.attempts) == (None, 2)
    assert came_at_s[1] - came_at_s[0] >= FIRST_WAIT_S


async def test_nothing_is_sent_again_unless_told(ask: Ask) -> None:
    answer, came_at_s = refuses(a_refusal(429))
    outcome = await ask(answer)
    assert (outcome.problem, outcome.attempts, len(came_at_s)) == ("429: not now", 1, 1)


async def test_a_mistake_is_not_sent_again(ask: Ask) -> None:
    answer, came_at_s = refuses(a_refusal(400))
    outcome = await ask(answer, retries=3)
    assert (outcome.problem, len(came_at_s)) == ("400: not now", 1)


async def test_an_answer_that_broke_off_is_not_sent_again(ask: Ask) -> None:
    came = []

    async def break_off(request: web.Request) -> web.StreamResponse:
        came.append(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'data: {"choices": [{"delta": {"content": " a"}}]}\n\n')
        assert request.transport is not None
        request.transport.close()  # what was written arrives before the end does
        return response

    outcome = await ask(break_off, retries=3)
    assert outcome.problem is not None
    assert len(came) == 1


async def test_retries_do_not_outlast_the_time_for_an_answer(ask: Ask) -> None:
    answer, _ = refuses(*(a_refusal(429, retry_after_ms="100") for _ in range(50)))
    began_at_s = time.monotonic()
    outcome = await ask(answer, timeout_s=0.25, retries=40)
    assert outcome.problem is not None
    assert time.monotonic() - began_at_s < 2.0
