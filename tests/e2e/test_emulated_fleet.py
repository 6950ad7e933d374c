"""The whole native system over emulated GPUs: asked like any other, and plainly emulated."""

import csv
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import openai
import pytest
import redis

from infra.native.ports import free_ports
from infra.native.system import NativeSystem
from loadgen.__main__ import main
from loadgen.commands.status import INVALID
from loadgen.report import Report
from services.engine.profile import load_profile
from shared.engine_state import EngineState
from shared.names import engine_key
from shared.wire import decode

PROFILES = ("h100-llama3.1-8b", "2xa6000-llama3.1-8b")


@pytest.fixture(scope="module")
def system(tmp_path_factory) -> Iterator[NativeSystem]:
    with NativeSystem(tmp_path_factory.mktemp("fleet"), free_ports(), profiles=PROFILES) as running:
        running.ready(within_s=120)
        yield running


def test_every_answer_is_as_long_as_was_asked_for(system):
    client = openai.OpenAI(base_url=f"{system.url}/v1", api_key="unused", max_retries=0)
    for max_tokens in (1, 7, 40):
        answer = client.completions.create(model="Llama-3.1-8B", prompt="Hello " * 300, max_tokens=max_tokens)
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage is not None
        assert answer.usage.completion_tokens == max_tokens


def test_engines_announce_that_they_are_emulated_with_the_limits_of_their_profiles(system):
    with redis.Redis(port=system.ports.redis_port) as database:
        states = [decode(database.get(engine_key(name)), EngineState) for name in sorted(system.engines)]
    assert [state.emulated for state in states] == [True, True]
    assert [state.hardware_class for state in states] == ["2xa6000-emulated", "h100-emulated"]
    profiles = [load_profile(name) for name in sorted(PROFILES)]
    assert [state.kv_blocks_total for state in states] == [profile.kv_blocks_total for profile in profiles]


def steps_counted(system: NativeSystem) -> dict[str, int]:
    """By engine, as the router shows them."""
    with urllib.request.urlopen(f"{system.url}/v1/engines") as response:
        engines = json.load(response)["engines"]
    return {engine["engine"]: sum(engine["lateness_counts"]) for engine in engines}


def test_how_late_steps_end_is_seen_at_the_router_while_they_run(system):
    before = steps_counted(system)
    client = openai.OpenAI(base_url=f"{system.url}/v1", api_key="unused", max_retries=0)
    stream = client.completions.create(model="Llama-3.1-8B", prompt="Hello", max_tokens=4_000, stream=True)
    for _ in stream:
        if sum(steps_counted(system).values()) >= sum(before.values()) + 20:
            break
    else:
        pytest.fail(f"{steps_counted(system)} after the answer had ended, {before} before")
    stream.close()


def test_a_report_says_that_engines_were_emulated_and_whether_they_kept_their_time(
    system, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    status = main(["run", "--url", system.url, "--rate", "10", "--requests", "20", "--name", "fleet"])
    report = msgspec.json.decode(Path("runs/fleet.json").read_bytes(), type=Report)
    assert sorted(report.emulated_engines) == sorted(system.engines)
    assert {each.engine for each in report.lateness} == {outcome.engine for outcome in report.outcomes}
    decodes = sum((outcome.output_tokens or 1) - 1 for outcome in report.outcomes)
    assert 0 < sum(each.steps for each in report.lateness) <= decodes + len(report.outcomes)
    assert status == (INVALID if report.overloads else 0)  # this machine may be busy with whatever
    assert "EMULATED: " in capsys.readouterr().out
    assert {row["emulated"] for row in csv.DictReader(Path("runs/fleet.csv").read_text().splitlines())} == {"1"}
    assert "EMULATED: " in Path("runs/fleet.html").read_text()
