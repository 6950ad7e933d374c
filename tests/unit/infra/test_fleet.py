"""A fleet of one's choice, as supervisor itself reads what it is told."""

import configparser
from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions  # type: ignore[import-untyped]

from infra.native.fleet import REAL, chosen_engines, configuration, further_routers
from infra.native.ports import FREE_PORT_RANGE, free_ports
from infra.native.system import CONFIGURATION, NativeSystem
from tests.unit.infra.test_configuration import FIRST_TO_LAST

PROFILES = ("h100-llama3.1-8b", "2xa6000-llama3.1-8b", "h100-llama3.1-8b")
NAMES = {"h100-llama3-1-8b-1", "2xa6000-llama3-1-8b", "h100-llama3-1-8b-2"}


@pytest.fixture
def system(tmp_path: Path) -> NativeSystem:
    system = NativeSystem(tmp_path, free_ports(), profiles=PROFILES)
    (tmp_path / "logs").mkdir()
    return system


@pytest.fixture
def groups(system: NativeSystem, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    for key, value in system._environment().items():
        monkeypatch.setenv(key, value)
    options = ServerOptions()
    options.realize(["-c", str(system._configuration())])
    return sorted(options.process_group_configs)


@pytest.fixture
def programs(groups: list[Any]) -> dict[str, Any]:
    return {program.name: program for group in groups for program in group.process_configs}


def test_engines_are_named_after_their_profiles_and_numbered_where_they_are_alike(system: NativeSystem) -> None:
    assert system.engines == NAMES


def test_no_port_is_given_twice() -> None:
    engines = chosen_engines(PROFILES)
    assert len({port for engine in engines for port in (engine.engine_port, engine.lens_port)}) == 6


def test_each_engine_runs_its_profile_with_noise_of_its_own(programs: dict[str, Any]) -> None:
    environments = [programs[f"engine-{name}"].environment for name in sorted(NAMES)]
    assert {environment["ENGINE_EXECUTOR"] for environment in environments} == {"emulated"}
    assert sorted(environment["ENGINE_PROFILE"] for environment in environments) == sorted(PROFILES)
    assert len({environment["ENGINE_SEED"] for environment in environments}) == 3


def test_the_real_model_is_run_by_its_own_name() -> None:
    (engine,) = chosen_engines([REAL])
    assert engine.name == REAL
    written = configuration(CONFIGURATION, [engine])
    assert "ENGINE_EXECUTOR" not in written
    assert f'LENS_ENGINE="{REAL}"' in written


def test_settings_are_for_all_programs_and_change_nothing_that_holds_the_system_together(tmp_path: Path) -> None:
    settings = {"ENGINE_TIME_SCALE": "3", "SYNERGY_RUN_DIR": "elsewhere"}
    environment = NativeSystem(tmp_path, free_ports(), settings=settings)._environment()
    assert environment["ENGINE_TIME_SCALE"] == "3"
    assert environment["SYNERGY_RUN_DIR"] == str(tmp_path)


def test_each_lens_drives_its_own_engine(programs: dict[str, Any]) -> None:
    for name in NAMES:
        lens = programs[f"lens-{name}"].environment
        assert lens["LENS_ENGINE"] == name
        assert lens["LENS_ENGINE_GRPC"].endswith(f":{programs[f'engine-{name}'].environment['ENGINE_GRPC_PORT']}")


def test_a_lens_is_told_what_is_for_it_alone_and_drives_its_engine_in_any_case() -> None:
    first, second = chosen_engines([REAL, REAL])
    told = {first.name: {"LENS_PLANNER": "static-64", "LENS_ENGINE": "another"}}
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(CONFIGURATION, [first, second], told))
    environment = parser[f"program:lens-{first.name}"]["environment"]
    assert 'LENS_PLANNER="static-64"' in environment
    assert f'LENS_ENGINE="{first.name}"' in environment
    assert "LENS_PLANNER" not in parser[f"program:lens-{second.name}"]["environment"]


def test_further_routers_are_before_the_same_engines_on_ports_of_their_own() -> None:
    routers = further_routers({"random": {"PRISM_POLICY": "random"}, "weighted": {"PRISM_POLICY": "weighted"}})
    parser = configparser.RawConfigParser()
    parser.read_string(configuration(CONFIGURATION, (), routers=routers))
    assert parser["group:routing"]["programs"] == "prism, prism-random, prism-weighted"
    for router in routers:
        section = parser[f"program:{router.program}"]
        assert section["command"] == parser["program:prism"]["command"]
        assert f'PRISM_POLICY="{router.name}"' in section["environment"]
        assert f'PRISM_PORT="{router.port}"' in section["environment"]
    assert len({router.port for router in routers}) == 2


def test_whoever_gets_a_free_port_gets_none_that_another_has_been_given() -> None:
    taken = set(FREE_PORT_RANGE[100:])
    for engine in chosen_engines([REAL] * 10, taken):
        taken |= {engine.engine_port, engine.lens_port}
    assert len(taken) == len(FREE_PORT_RANGE) - 100 + 20
    routers = further_routers({f"r{number}": {} for number in range(10)}, taken)
    assert not taken & {router.port for router in routers}


def test_with_further_routers_alone_the_engines_are_the_usual_ones(tmp_path: Path) -> None:
    system = NativeSystem(tmp_path, free_ports(), routers={"random": {"PRISM_POLICY": "random"}})
    text = system._configuration().read_text()
    assert system.engines == {"large", "small"}
    assert "[program:engine-large]" in text
    assert "[program:lens-small]" in text
    assert system.router_url("random") == system.urls["prism-random"] != system.url


def test_the_rest_is_as_with_real_engines(groups: list[Any], programs: dict[str, Any]) -> None:
    assert [group.name for group in groups] == FIRST_TO_LAST
    assert programs.keys() == {
        "nats",
        "redis",
        "forecaster",
        "prism",
        *(f"{kind}-{name}" for kind in ("engine", "lens") for name in NAMES),
    }
    for name, program in programs.items():
        assert program.autorestart
        assert program.redirect_stderr
        assert Path(program.stdout_logfile).name == f"{name}.log"
