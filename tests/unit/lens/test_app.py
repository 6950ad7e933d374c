"""The HTTP face over a fake engine: what clients get, to the token."""

import asyncio
import json

import aiohttp
import pytest

from services.lens import loop as loop_module
from services.lens.scheduler import MOST_RECOMPUTES_WITHOUT_TOKEN
from shared.step import Refusal, RefusalCode, Sampling
from shared.telemetry import Outcome, RequestReport
from tests.servers import eventually
from tests.unit.lens.rig import TEXT_MODEL, WORDS, complete


async def stream(client: aiohttp.ClientSession, path: str, **fields) -> list[dict]:
    async with client.post(path, json={"model": "m", "stream": True, "max_tokens": 50, **fields}) as response:
        assert response.content_type == "text/event-stream"
        lines = (await response.text()).split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


async def test_a_completion_is_the_text_up_to_the_end_token(client):
    answer = await complete(client)
    assert answer["choices"][0] == {"index": 0, "text": WORDS[3:], "finish_reason": "stop", "logprobs": None}


async def test_usage_counts_prompt_and_drawn_tokens(client):
    answer = await complete(client)
    drawn = len(WORDS) - 3 + 1  # the end token was drawn too
    assert answer["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": drawn,
        "total_tokens": 3 + drawn,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


async def test_a_limit_ends_the_answer_right_there(client):
    answer = await complete(client, max_tokens=5)
    assert (answer["choices"][0]["text"], answer["choices"][0]["finish_reason"]) == (WORDS[3:8], "length")
    assert answer["usage"]["completion_tokens"] == 5


async def test_ignore_eos_goes_on_to_the_limit(client):
    answer = await complete(client, ignore_eos=True)
    assert (answer["choices"][0]["finish_reason"], answer["usage"]["completion_tokens"]) == ("length", 50)


async def test_a_stop_string_is_cut_out(client):
    answer = await complete(client, stop=["bro"])
    assert (answer["choices"][0]["text"], answer["choices"][0]["finish_reason"]) == (" quick ", "stop")
    assert answer["usage"]["completion_tokens"] == len(" quick bro")


async def test_a_prompt_of_token_ids_is_taken_as_it_is(client):
    answer = await complete(client, prompt=list(TEXT_MODEL.encode("abcd")))
    assert answer["choices"][0]["text"] == WORDS[4:]


async def test_a_chat_has_a_message(client):
    body = {"model": "m", "messages": [{"role": "user", "content": "abc"}]}
    async with client.post("/v1/chat/completions", json=body) as response:
        answer = await response.json()
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": WORDS[3:], "refusal": None}
    assert answer["object"] == "chat.completion"


async def test_a_streamed_chat_makes_the_same_text(client):
    events = await stream(client, "/v1/chat/completions", messages=[{"role": "user", "content": "abc"}])
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == WORDS[3:]
    assert [event["choices"][0]["finish_reason"] for event in events][-1] == "stop"
    assert len({event["id"] for event in events}) == 1
    assert not any("usage" in event for event in events)


async def test_a_stream_ends_with_usage_where_it_is_asked_for(client):
    events = await stream(client, "/v1/completions", prompt="abc", stream_options={"include_usage": True})
    assert (events[-1]["choices"], events[-1]["usage"]["prompt_tokens"]) == ([], 3)
    assert all(event["usage"] is None for event in events[:-1])


async def test_sampling_reaches_the_engine_as_it_was_asked_for(rig, client):
    await complete(client, seed=11, temperature=0.5, top_p=0.25, top_k=40)
    asked = Sampling(seed=11, temperature=0.5, top_p=0.25, top_k=40)
    assert rig.engine.sessions[0].plans[0].chunks[0].sampling == asked


async def test_without_a_seed_each_request_has_its_own(rig, client):
    await complete(client)
    await complete(client)
    samplings = [chunk.sampling for plan in rig.engine.sessions[0].plans for chunk in plan.chunks if chunk.sampling]
    assert samplings[0].seed != samplings[1].seed
    assert (samplings[0].temperature, samplings[0].top_p, samplings[0].top_k) == (1.0, 1.0, 0)


async def test_the_request_id_is_echoed_or_made(client):
    body = {"model": "m", "prompt": "abc"}
    async with client.post("/v1/completions", json=body, headers={"x-request-id": "mine-1"}) as response:
        assert response.headers["x-request-id"] == "mine-1"
    async with client.post("/v1/completions", json=body, headers={"x-request-id": "not/mine\t"}) as response:
        assert len(response.headers["x-request-id"]) == 32


async def test_the_end_of_a_request_is_reported_with_targets_and_predictions(rig, client):
    sent = {"x-slo-ttft-ms": "500", "x-slo-class": "chat", "x-synergy-predicted-ttft-ms": "12.5"}
    async with client.post("/v1/completions", json={"model": "m", "prompt": "abc"}, headers=sent) as response:
        await response.read()
    [report] = [report for report in rig.reports if isinstance(report, RequestReport)]
    assert (report.outcome, report.slo_class, report.target_ttft_ms) == (Outcome.LENGTH, "chat", 500)
    assert (report.predicted_ttft_ms, report.prompt_tokens, report.output_tokens) == (12.5, 3, 16)
    assert report.ttft_ms is not None
    assert report.tpot_ms is not None


async def test_dispatch_numbers_are_echoed_by_replica(rig, client):
    for dispatch in ("a:1", "b:7", "a:3", "a:2"):
        headers = {"x-synergy-dispatch": dispatch}
        async with client.post("/v1/completions", json={"model": "m", "prompt": "abc"}, headers=headers) as response:
            assert response.status == 200
    assert rig.frontend.admitted == {"a": 3, "b": 7}


async def test_each_dispatch_is_heard_once_it_is_admitted_or_refused_whatever_its_number(rig, client):
    for dispatch, model in (("a:2", "m"), ("a:1", "m"), ("b:1", "another")):
        body = {"model": model, "prompt": "abc"}
        async with client.post("/v1/completions", json=body, headers={"x-synergy-dispatch": dispatch}) as response:
            assert response.status == (200 if model == "m" else 404)
    assert rig.frontend.take_heard() == ("a:2", "a:1", "b:1")
    assert rig.frontend.take_heard() == ()


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_client_that_goes_away_ends_its_request(rig, client, is_stream):
    rig.engine.sessions[0].running.clear()
    body = {"model": "m", "prompt": "abc", "stream": is_stream, "max_tokens": 50, "ignore_eos": True}
    request = asyncio.create_task(client.post("/v1/completions", json=body))
    await eventually(lambda: rig.loop.generations_live)
    request.cancel()
    await eventually(lambda: not rig.loop.generations_live)
    plans_before = len(rig.engine.sessions[0].plans)
    rig.engine.sessions[0].running.set()
    await eventually(lambda: not rig.loop.scheduler.running)
    assert len(rig.engine.sessions[0].plans) <= plans_before + 1  # the one that releases its slot
    [report] = [report for report in rig.reports if isinstance(report, RequestReport)]
    assert report.outcome is Outcome.CANCELLED


async def test_priority_tenant_and_arrival_go_into_the_sequence(rig, client):
    rig.engine.sessions[0].running.clear()
    sent = {"x-synergy-priority": "-7", "x-synergy-tenant": "acme"}
    body = {"model": "m", "prompt": "abc"}
    request = asyncio.create_task(client.post("/v1/completions", json=body, headers=sent))
    await eventually(lambda: rig.loop.scheduler.running)
    [running] = rig.loop.scheduler.running.values()
    assert (running.priority, running.tenant) == (-7, "acme")
    rig.engine.sessions[0].running.set()
    assert (await request).status == 200


@pytest.mark.parametrize("is_stream", [True, False])
async def test_an_answer_says_that_its_prompt_was_relegated(rig, client, is_stream):
    rig.engine.sessions[0].running.clear()
    body = {"model": "m", "prompt": "abc", "stream": is_stream}
    request = asyncio.create_task(client.post("/v1/completions", json=body))
    await eventually(lambda: rig.loop.scheduler.running)
    [running] = rig.loop.scheduler.running.values()
    running.relegated = True
    rig.engine.sessions[0].running.set()
    response = await request
    assert response.headers["x-synergy-relegated"] == "true"
    await response.read()
    [report] = [report for report in rig.reports if isinstance(report, RequestReport)]
    assert report.relegated
    assert "lens_relegated_requests_total 1.0" in await metrics_after(rig, client)


async def test_an_answer_in_its_turn_says_nothing_of_relegation(rig, client):
    async with client.post("/v1/completions", json={"model": "m", "prompt": "abc"}) as response:
        assert "x-synergy-relegated" not in response.headers
    assert "lens_relegated_requests_total 0.0" in await metrics_after(rig, client)


async def metrics_after(rig, client: aiohttp.ClientSession) -> str:
    """The metrics, with all that has been reported counted."""
    for report in rig.reports:
        rig.metrics.count(report)
    async with client.get("/metrics") as response:
        return await response.text()


@pytest.mark.parametrize("is_stream", [True, False])
async def test_what_has_not_begun_is_handed_back_when_the_engine_stays_away(rig, client, is_stream):
    rig.loop._engine_patience_s = 0.0
    rig.engine.sessions[0].running.clear()
    body = {"model": "m", "prompt": "a", "stream": is_stream}
    request = asyncio.create_task(client.post("/v1/completions", json=body))
    await eventually(lambda: rig.loop.generations_live)
    rig.engine.away = True
    rig.engine.sessions[0].break_off()
    response = await request
    assert (response.status, (await response.json())["error"]["code"]) == (503, "engine_away")
    assert (response.headers["retry-after"], response.headers["retry-after-ms"]) == ("1", "1000")
    [report] = [report for report in rig.reports if isinstance(report, RequestReport)]
    assert (report.outcome, report.output_tokens) == (Outcome.FAILED, 0)
    assert 'lens_refusals_total{code="engine_away"} 1.0' in await metrics_after(rig, client)


async def test_a_stream_that_has_begun_ends_with_an_error_when_the_engine_stays_away(rig, client):
    body = {"model": "m", "prompt": "a", "stream": True, "max_tokens": 50, "ignore_eos": True}
    rig.loop._engine_patience_s = 0.0
    session = rig.engine.sessions[0]
    session.answers_left = 3
    async with client.post("/v1/completions", json=body) as response:
        assert response.status == 200
        first = await response.content.readuntil(b"\n\n")
        [running] = rig.loop.scheduler.running.values()
        await eventually(lambda: len(running.output_ids) == 3)
        rig.engine.away = True
        session.break_off()
        events = (first + await response.read()).decode().split("\n\n")
    *answered, broken = [json.loads(event.removeprefix("data: ")) for event in events if event]
    assert "".join(event["choices"][0]["text"] for event in answered) == WORDS[1:4]
    assert broken["error"]["code"] == "engine_failed"


async def test_a_stream_that_is_given_up_ends_with_an_error(rig, client):
    body = {"model": "m", "prompt": "a", "stream": True, "max_tokens": 50, "ignore_eos": True}
    rig.engine.sessions[0].answers_left = 1
    async with client.post("/v1/completions", json=body) as response:
        await response.content.readuntil(b"\n\n")
        rig.loop.give_up()
        last = (await response.text()).removeprefix("data: ")
    assert json.loads(last)["error"]["code"] == "engine_failed"
    [report] = [report for report in rig.reports if isinstance(report, RequestReport)]
    assert report.outcome is Outcome.FAILED


async def test_a_request_that_fails_its_engine_again_and_again_gives_a_status(rig, client, monkeypatch):
    monkeypatch.setattr(loop_module, "RECONNECT_S", 0.01)
    refusal = Refusal(RefusalCode.EXECUTOR_FAILED, "out of memory")
    rig.engine.refuses = rig.engine.sessions[0].refuses = refusal
    async with client.post("/v1/completions", json={"model": "m", "prompt": "a", "stream": True}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (502, "engine_failed")
    assert rig.loop.serving.is_set()
    assert len(rig.engine.sessions) == 2 + MOST_RECOMPUTES_WITHOUT_TOKEN


async def test_a_burst_cannot_pass_the_bound_of_the_queue(rig, client):
    rig.engine.sessions[0].running.clear()
    body = {"model": "m", "prompt": "abc", "ignore_eos": True}
    requests = [asyncio.create_task(client.post("/v1/completions", json=body)) for _ in range(30)]
    scheduler = rig.loop.scheduler

    def taken() -> int:
        return len(scheduler.running) + len(scheduler.waiting)

    await eventually(lambda: sum(request.done() for request in requests) + taken() == 30)
    taken_in = taken()
    assert 8 <= taken_in <= 8 + len(scheduler.running)  # some join the engine before, some after the queue is full
    rig.engine.sessions[0].running.set()
    responses = await asyncio.gather(*requests)
    refused = [response for response in responses if response.status == 429]
    assert ([response.status for response in responses].count(200), len(refused)) == (taken_in, 30 - taken_in)
    for response in refused:
        assert (await response.json())["error"]["code"] == "queue_full"
        after_ms = int(response.headers["retry-after-ms"])
        assert 100 <= after_ms <= 30_000
        assert int(response.headers["retry-after"]) == -(-after_ms // 1000)
    assert f'lens_refusals_total{{code="queue_full"}} {len(refused):.1f}' in await metrics_after(rig, client)


async def test_odd_sampling_is_made_such_that_any_engine_can_draw(rig, client):
    await complete(client, temperature=1e-40, top_p=1e-50)
    sampling = rig.engine.sessions[0].plans[0].chunks[0].sampling
    assert (sampling.temperature, sampling.top_p) == (0.0, 1e-6)


async def test_a_lens_that_leaves_takes_nothing_new(rig, client):
    rig.frontend.draining = True
    async with client.post("/v1/completions", json={"model": "m", "prompt": "abc"}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (503, "draining")
        assert (response.headers["retry-after"], response.headers["retry-after-ms"]) == ("1", "1000")
    async with client.get("/health/ready") as response:
        assert response.status == 503


async def test_readiness_names_what_is_missing(rig, client):
    async with client.get("/health/ready") as response:
        assert (response.status, (await response.json())["problems"]) == (503, {"warm-up": "not there yet"})
    rig.readiness.has("warm-up")
    async with client.get("/health/ready") as response:
        assert response.status == 200


async def test_the_model_is_listed_with_its_context(client):
    async with client.get("/v1/models") as response:
        [card] = (await response.json())["data"]
    assert (card["id"], card["max_model_len"]) == ("m", 128)


async def test_metrics_count_what_has_run_and_name_what_is_missing(rig, client):
    await complete(client)
    for report in rig.reports:
        rig.metrics.count(report)
    async with client.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    assert {
        'lens_tokens_total{phase="prefill"} 3.0',
        f'lens_tokens_total{{phase="decode"}} {len(WORDS) - 3:.1f}',
        'lens_requests_total{outcome="stop"} 1.0',
        'lens_missing{part="warm-up"} 1.0',
    } <= set(lines)
