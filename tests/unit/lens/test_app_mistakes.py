"""What clients get for their mistakes: named, at once, and nothing else disturbed. And for ours."""

import itertools
import json
from collections.abc import Callable

import pytest
import structlog

from services.lens.answer import Answer
from shared.telemetry import Outcome, RequestReport
from tests.unit.lens.rig import WORDS, complete

CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        (COMPLETION, b"{", 400, None),
        (COMPLETION, b"\xff\xfe", 400, None),
        (COMPLETION, b"[]", 400, None),
        (COMPLETION, {"prompt": "x"}, 400, "model"),
        (COMPLETION, {"model": "other", "prompt": "x"}, 404, "model"),
        (COMPLETION, {"model": "m", "prompt": ""}, 400, "prompt"),
        (COMPLETION, {"model": "m", "prompt": 7}, 400, "prompt"),
        (COMPLETION, {"model": "m", "prompt": ["a", "b"]}, 400, "prompt"),
        (COMPLETION, {"model": "m", "prompt": "x" * 128}, 400, "prompt"),
        (COMPLETION, {"model": "m", "prompt": [1, 10**9]}, 400, "prompt"),
        (COMPLETION, {"model": "m", "prompt": "x", "max_tokens": 0}, 400, "max_tokens"),
        (COMPLETION, {"model": "m", "prompt": "x", "max_tokens": 10**40}, 400, "max_tokens"),
        (COMPLETION, {"model": "m", "prompt": "x", "max_tokens": "7"}, 400, "max_tokens"),
        (COMPLETION, {"model": "m", "prompt": "x", "temperature": -1}, 400, "temperature"),
        (COMPLETION, {"model": "m", "prompt": "x", "top_p": 0}, 400, "top_p"),
        (COMPLETION, {"model": "m", "prompt": "x", "top_k": -2}, 400, "top_k"),
        (COMPLETION, {"model": "m", "prompt": "x", "seed": 2**64}, 400, "seed"),
        (COMPLETION, {"model": "m", "prompt": "x", "stop": [""]}, 400, "stop"),
        (COMPLETION, {"model": "m", "prompt": "x", "n": 2}, 400, "n"),
        (COMPLETION, {"model": "m", "prompt": "x", "echo": True}, 400, "echo"),
        (COMPLETION, {"model": "m", "prompt": "x", "logprobs": 1}, 400, "logprobs"),
        (COMPLETION, {"model": "m", "prompt": "x", "surprise": 1}, 400, "surprise"),
        (COMPLETION, {"model": "m", "prompt": "x", "stream_options": {}}, 400, "stream_options"),
        (COMPLETION, b'{"model": "m", "prompt": "' + b"x" * 10_000 + b'"}', 413, None),
        (CHAT, {"model": "m"}, 400, "messages"),
        (CHAT, {"model": "m", "messages": []}, 400, "messages"),
        (CHAT, {"model": "m", "messages": [{"role": "user"}]}, 400, "messages[0].content"),
        (CHAT, {"model": "m", "messages": [{"role": "king", "content": "x"}]}, 400, "messages[0].role"),
        (CHAT, {"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [{}]}, 400, "tools"),
        ("/v1/nothing", {}, 404, None),
    ],
)
async def test_a_mistake_is_named_and_disturbs_nothing(client, path, body, status, param):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with client.post(path, data=data) as response:
        error = (await response.json())["error"]
        assert (response.status, error["param"], error["type"]) == (status, param, "invalid_request_error")
    assert (await complete(client))["choices"][0]["text"] == WORDS[3:]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-slo-ttft-ms", "soon"),
        ("x-slo-tpot-ms", "-1"),
        ("x-slo-ttft-ms", "nan"),
        ("x-synergy-priority", "urgent"),
        ("x-synergy-tenant", "x" * 129),
        ("x-synergy-dispatch", "7"),
        ("x-synergy-dispatch", "a:" + "9" * 5000),
    ],
)
async def test_a_mistaken_header_is_named(client, header, value):
    async with client.post(COMPLETION, json={"model": "m", "prompt": "x"}, headers={header: value}) as response:
        assert (response.status, (await response.json())["error"]["param"]) == (400, header)


class Mistake(Exception):
    """Of ours."""


def fails_behind(texts: int) -> Callable[..., bytes]:
    """Writes an answer's events as they are, and breaks behind so many."""
    written = itertools.count()
    original = Answer.text_event

    def text_event(answer: Answer, text: str) -> bytes:
        if next(written) == texts:
            raise Mistake("while writing")
        return original(answer, text)

    return text_event


async def test_a_mistake_of_ours_behind_a_begun_answer_ends_it_with_an_error(rig, client, monkeypatch):
    monkeypatch.setattr(Answer, "text_event", fails_behind(2))
    body = {"model": "m", "prompt": "abc", "stream": True}
    with structlog.testing.capture_logs() as logs:
        async with client.post(COMPLETION, json=body) as response:
            assert response.status == 200
            *answered, broken = [
                json.loads(e.removeprefix("data: ")) for e in (await response.text()).split("\n\n") if e
            ]
    assert "".join(event["choices"][0]["text"] for event in answered) == WORDS[3:5]
    assert (broken["error"]["code"], broken["error"]["message"]) == ("internal_error", "internal error")
    [line] = [line for line in logs if line["log_level"] == "error"]
    assert (line["path"], str(line["exc_info"])) == (COMPLETION, "while writing")
    [report] = [report for report in rig.reports if isinstance(report, RequestReport)]
    assert report.outcome is Outcome.FAILED
    assert rig.loop.generations_live == 0


async def test_a_mistake_of_ours_before_an_answer_gives_a_status(rig, client, monkeypatch):
    monkeypatch.setattr(Answer, "text_event", fails_behind(0))
    async with client.post(COMPLETION, json={"model": "m", "prompt": "abc", "stream": True}) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (500, "internal_error")
    [report] = [report for report in rig.reports if isinstance(report, RequestReport)]
    assert report.outcome is Outcome.FAILED
