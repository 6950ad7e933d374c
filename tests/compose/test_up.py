"""What `docker compose up` gives: a system that answers, that can be looked into, and whose containers may do no more than they must."""

import json
import re
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import openai
import pytest

from shared.names import API_KEYS_KEY, engine_key, forecast_key, model_key
from tests.compose.load import MODEL
from tests.compose.system import ROOT, ComposeSystem
from tests.servers import eventually_sync

DASHBOARDS = sorted((ROOT / "infra" / "grafana" / "dashboards").glob("*.json"))
SAMPLES = ("_total", "_bucket", "_sum", "_count")
"""What the names of a metric's samples end with, where they are not the metric's own."""
MACHINE_TOO_SLOW = 3
"""The load generator's status where emulated engines could not keep their GPUs' time, which is not asked here."""


@pytest.fixture(scope="module")
def client(system: ComposeSystem) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{system.url}/v1", api_key="unused", max_retries=0)


def test_the_openai_client_is_answered_through_the_front(client: openai.OpenAI) -> None:
    assert [card.id for card in client.models.list()] == [MODEL]
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=8)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


def test_a_stream_comes_through_the_front_piece_by_piece(client: openai.OpenAI) -> None:
    came_at_s = [
        time.monotonic() for _ in client.completions.create(model=MODEL, prompt="Hello", max_tokens=64, stream=True)
    ]
    assert len(came_at_s) > 10
    assert came_at_s[-1] - came_at_s[0] > 0.1  # 63 steps of at least 5 ms: what is gathered comes at once


def test_what_is_wrong_with_a_request_is_told_through_the_front(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no-such-model"):
        client.completions.create(model="no-such-model", prompt="Hello")


def test_the_front_takes_no_more_than_a_body_may_have(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as refused:
        client.completions.create(model=MODEL, prompt="x" * (5 << 20), max_tokens=1)
    assert refused.value.status_code == 413


def test_forecasts_are_there_to_be_looked_at(system: ComposeSystem, client: openai.OpenAI) -> None:
    def learned() -> bool:
        client.completions.create(model=MODEL, prompt="Hello " * 50, max_tokens=32)
        return all(system.look("exists", forecast_key(name)) == "1" for name in system.engines)

    eventually_sync(learned, 60.0)
    for name in system.engines:
        assert json.loads(system.look("get", forecast_key(name)))
        assert json.loads(system.look("get", engine_key(name)))
        assert system.look("exists", model_key(name)) == "1"


def test_prometheus_sees_every_service(system: ComposeSystem) -> None:
    def seen() -> set[str]:
        answer = system.exec(
            "prometheus", "promtool", "query", "instant", "http://127.0.0.1:9090", "count by (job) (up == 1)"
        )
        return set(re.findall(r'job="(\w+)"', answer))

    eventually_sync(lambda: seen() == {"prism", "forecaster", "lens"}, 30.0)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_prometheus_has_whatever_a_dashboard_shows(system: ComposeSystem, dashboard: Path) -> None:
    shown = json.loads(dashboard.read_text())
    queries = [target["expr"] for panel in shown["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"\b(?:lens|prism|forecaster)_\w+", query)}
    with urllib.request.urlopen(f"{system.prometheus_url}/api/v1/metadata") as answer:
        families = set(json.load(answer)["data"])
    assert asked
    assert not {name for name in asked if not {name, *(name.removesuffix(part) for part in SAMPLES)} & families}


def test_the_load_generator_leaves_its_report_on_the_host(system: ComposeSystem) -> None:
    reports = [ROOT / "runs" / f"compose-test.{kind}" for kind in ("json", "csv", "html")]
    load = ("run", "--rate", "4", "--requests", "20", "--name", "compose-test")
    told = system.compose("run", "--rm", "loadgen", *load, statuses=(0, MACHINE_TOO_SLOW))
    assert "TTFT" in told
    for report in reports:
        assert report.read_text()
        report.unlink()


def test_no_container_may_more_than_it_must(system: ComposeSystem) -> None:
    for container in system.containers():
        host, user = container.attrs["HostConfig"], container.attrs["Config"]["User"]
        name = container.name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"], name
        assert not host["CapAdd"], name
        assert not host["Privileged"], name
        assert any(option.startswith("no-new-privileges") for option in host["SecurityOpt"]), name
        assert user not in ("", "0", "root"), name
        assert host["Memory"] > 0, name
        assert host["NanoCpus"] > 0, name
        for ports in (container.attrs["NetworkSettings"]["Ports"] or {}).values():
            assert {port["HostIp"] for port in ports or ()} <= {"127.0.0.1"}, name


def test_passwords_are_neither_in_images_nor_in_what_inspect_shows(system: ComposeSystem) -> None:
    passwords = [password_of(system, service) for service in ("lens-h100", "forecaster", "prism")]
    assert len(set(passwords)) == 3
    shown = json.dumps([container.attrs for container in system.containers()])
    images = json.dumps([[container.image.attrs, container.image.history()] for container in system.containers()])
    assert not [password for password in passwords if password in shown or password in images]


MAY: Sequence[tuple[str, Sequence[str]]] = (
    ("lens", ("SET", engine_key("probe"), "state", "EX", "1")),
    ("lens", ("GET", forecast_key("h100"))),
    ("forecaster", ("SET", model_key("probe"), "model", "EX", "1")),
    ("forecaster", ("XADD", "synergy:v1:steps:probe", "*", "step", "1")),
    ("prism", ("GET", engine_key("h100"))),
    ("prism", ("GET", forecast_key("h100"))),
    ("prism", ("EVAL", "return redis.call('TIME')[1]", "0")),
)
MAY_NOT: Sequence[tuple[str, Sequence[str]]] = (
    ("lens", ("SET", forecast_key("h100"), "forged")),
    ("lens", ("GET", model_key("h100"))),
    ("lens", ("FLUSHALL",)),
    ("lens", ("CONFIG", "SET", "maxmemory", "1")),
    ("forecaster", ("SET", engine_key("h100"), "forged")),
    ("forecaster", ("KEYS", "*")),
    ("forecaster", ("SHUTDOWN",)),
    ("prism", ("SET", forecast_key("h100"), "forged")),
    ("prism", ("SET", engine_key("h100"), "forged")),
    ("prism", ("GET", model_key("h100"))),
    ("prism", ("HSET", API_KEYS_KEY, "digest", "{}")),
    ("prism", ("ACL", "LIST")),
    ("prism", ("SCAN", "0")),
    ("lens", ("FUNCTION", "FLUSH")),
    ("lens", ("SCRIPT", "FLUSH")),
)
CONTAINERS = {"lens": "lens-h100", "forecaster": "forecaster", "prism": "prism"}


@pytest.mark.parametrize(("user", "command"), [*MAY, *MAY_NOT], ids=lambda of: of if isinstance(of, str) else of[0])
def test_a_service_may_do_in_redis_what_it_does_and_nothing_else(
    system: ComposeSystem, user: str, command: Sequence[str]
) -> None:
    password = password_of(system, CONTAINERS[user])
    answer = system.exec("redis", "redis-cli", "--no-auth-warning", "--user", user, "--pass", password, *command)
    assert ("NOPERM" in answer) == ((user, command) in MAY_NOT), answer


@pytest.mark.parametrize("command", ["SET {key} forged", "DEL {key}", "FLUSHALL", "EVAL return 0"])
def test_who_looks_changes_nothing(system: ComposeSystem, command: str) -> None:
    with pytest.raises(AssertionError, match="NOPERM"):
        system.look(*command.format(key=forecast_key("h100")).split())


def test_an_api_key_can_be_given_and_taken_and_nothing_else_with_it(system: ComposeSystem) -> None:
    told = system.exec("prism", "python3", "-m", "services.prism.keys", "new", "--tenant", "acme")
    _, digest, entry = re.findall(r"HSET (\S+) (\S+) '(.*)'", told)[0]
    assert system.exec("redis", "grant", "HSET", API_KEYS_KEY, digest, entry).strip() == "1"
    assert system.exec("redis", "grant", "HDEL", API_KEYS_KEY, digest).strip() == "1"
    with pytest.raises(AssertionError, match="NOPERM"):
        system.exec("redis", "grant", "HSET", engine_key("h100"), "field", "forged")


def test_without_a_password_redis_says_nothing(system: ComposeSystem) -> None:
    assert "NOAUTH" in system.exec("redis", "redis-cli", "get", forecast_key("h100"))


def password_of(system: ComposeSystem, service: str) -> str:
    url = system.exec(service, "python3", "-c", "print(open('/run/credentials/redis_url').read())")
    return url.split(":")[2].partition("@")[0]
