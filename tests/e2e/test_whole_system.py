"""The whole native system, used as its users do: through the official OpenAI client, `redis-cli`'s keys, and the report."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import psutil
import pytest
import redis

from infra.native.ports import free_ports
from infra.native.system import ENGINES, NativeSystem
from services.lens.settings import bundled_model_path
from services.lens.tokenizer import load_text_model
from shared.api import ChatMessage
from shared.forecast import Forecast, ModelHealth
from shared.names import engine_key, forecast_key
from shared.wire import decode
from tests.servers import eventually, eventually_sync

MODEL = "SmolLM2-135M-Instruct"
QUESTION = "Why is the sky blue?"
MARK = "zebra-crossing-7391"


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Iterator[NativeSystem]:
    with NativeSystem(tmp_path_factory.mktemp("system"), free_ports()) as running:
        running.ready(within_s=120)
        yield running


@pytest.fixture
def client(system) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{system.url}/v1", api_key="unused", max_retries=0)


def ask(client: openai.OpenAI, content: str = QUESTION, **fields: Any) -> Any:
    return client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": content}], **{"max_tokens": 24, "temperature": 0, **fields}
    )


def test_the_model_is_listed(client):
    assert [card.id for card in client.models.list()] == [MODEL]


def test_a_chat_is_answered_with_usage_to_the_token(client):
    answer = ask(client)
    prompt_tokens = len(_chat_tokens(QUESTION))
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (prompt_tokens, 24)


def _chat_tokens(question: str) -> tuple[int, ...]:
    text_model = load_text_model(bundled_model_path())
    return text_model.encode(text_model.render_chat([ChatMessage("user", question)]), add_special_tokens=False)


def test_a_stream_brings_the_same_text_piece_by_piece(client):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == ask(client).choices[0].message.content
    assert len(chunks) > 10
    assert chunks[-1].usage.completion_tokens == 24


def test_a_completion_is_answered_too(client):
    answer = client.completions.create(model=MODEL, prompt="The capital of France is", max_tokens=5, temperature=0)
    assert "Paris" in answer.choices[0].text


def test_a_stop_string_ends_the_answer(client):
    whole = ask(client).choices[0].message.content
    stop = whole.split()[3]
    answer = ask(client, stop=[stop])
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (whole[: whole.index(stop)], "stop")


@pytest.mark.parametrize(
    ("fields", "param"), [({"n": 2}, "n"), ({"max_tokens": -1}, "max_tokens"), ({"logprobs": True}, "logprobs")]
)
def test_what_cannot_be_done_is_a_bad_request_that_names_it(client, fields, param):
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, **fields)
    assert error.value.param == param


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as error:
        client.completions.create(model="other", prompt="x")
    assert error.value.code == "model_not_found"


def test_a_prompt_longer_than_the_context_is_refused(client):
    with pytest.raises(openai.BadRequestError) as error:
        ask(client, "word " * 5000)
    assert error.value.code == "context_length_exceeded"


def test_an_answer_says_who_served_it_and_what_was_foreseen(client):
    response = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": QUESTION}], max_tokens=4
    )
    assert response.headers["x-synergy-engine"] in {"large", "small"}
    assert float(response.headers["x-synergy-predicted-ttft-ms"]) > 0
    assert float(response.headers["x-synergy-predicted-tpot-ms"]) > 0


def test_both_engines_serve_a_crowd_and_both_models_learn(system, client):
    def engine_of_an_answer(n: int) -> str:
        response = client.chat.completions.with_raw_response.create(
            model=MODEL, messages=[{"role": "user", "content": f"Tell me about the number {n}."}], max_tokens=16
        )
        return str(response.headers["x-synergy-engine"])

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(engine_of_an_answer, range(24))) == {"large", "small"}
    database = redis.Redis(port=system.ports.redis_port)

    def learned(engine: str) -> bool:
        forecast = decode(database.get(forecast_key(engine)), Forecast)  # type: ignore[arg-type]
        return forecast.health is not ModelHealth.COLD and forecast.mape is not None

    eventually_sync(lambda: learned("large") and learned("small"))
    assert json.loads(str(redis.Redis(port=system.ports.redis_port, decode_responses=True).get(forecast_key("large"))))


async def test_a_client_that_goes_away_frees_the_engine(system):
    client = openai.AsyncOpenAI(base_url=f"{system.url}/v1", api_key="unused", max_retries=0)
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Count."}],
        max_tokens=800,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    await anext(aiter(stream))
    await eventually(lambda: asyncio.to_thread(_decoding, system))
    await stream.close()
    await eventually(lambda: asyncio.to_thread(lambda: not _decoding(system)))


def _decoding(system: NativeSystem) -> int:
    database = redis.Redis(port=system.ports.redis_port)
    states = [database.get(engine_key(engine)) for engine in ENGINES]
    return sum(json.loads(state)["decode_seqs"] for state in states if state)


def test_prompts_are_in_no_log(system, client):
    ask(client, f"Say {MARK}", max_tokens=2, extra_headers={"x-request-id": "the-marked-one"})
    prism_log = system.logs_dir / "prism.log"
    eventually_sync(lambda: "the-marked-one" in prism_log.read_text())
    logs = list(system.logs_dir.iterdir())
    assert logs
    assert not [log.name for log in logs if MARK in log.read_text(errors="replace")]


def test_everything_listens_on_loopback_only(system):
    supervisor = psutil.Process(system._supervisor.pid)
    listening = [
        connection.laddr
        for process in supervisor.children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.port for address in listening} >= set(system.ports.by_key.values())
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def test_the_system_stops_in_order_and_leaves_nothing_behind(tmp_path):
    system = NativeSystem(tmp_path, free_ports())
    system.start()
    system.ready(within_s=120)
    processes = psutil.Process(system._supervisor.pid).children(recursive=True)  # type: ignore[union-attr]
    system.stop()
    assert not [process for process in processes if process.is_running()]
    assert {program.last_exit for program in system.programs.values()} == {"exit status 0"}
    log = (system.logs_dir / "supervisord.log").read_text()
    stopped = ("prism", "lens-large", "engine-large", "forecaster", "redis")
    assert sorted(stopped, key=lambda program: log.index(f"stopped: {program} ")) == list(stopped)
