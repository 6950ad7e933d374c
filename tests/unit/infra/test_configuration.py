"""`supervisord.conf` as supervisor itself reads it."""

from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions  # type: ignore[import-untyped]

from infra.native.ports import free_ports
from infra.native.system import CONFIGURATION, ROOT, NativeSystem
from loadgen.workload import MIX
from services.prism.settings import PrismSettings
from shared.settings import load

FIRST_TO_LAST = ["stores", "learning", "engines", "lenses", "routing"]


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    system = NativeSystem(tmp_path / "a run", free_ports())
    (tmp_path / "a run" / "logs").mkdir(parents=True)
    for key, value in system._environment().items():
        monkeypatch.setenv(key, value)
    options = ServerOptions()
    options.realize(["-c", str(CONFIGURATION)])
    return sorted(options.process_group_configs)


@pytest.fixture
def programs(groups: list[Any]) -> dict[str, Any]:
    return {program.name: program for group in groups for program in group.process_configs}


def test_what_others_need_starts_first_and_stops_last(groups: list[Any]) -> None:
    assert [group.name for group in groups] == FIRST_TO_LAST


def test_every_program_is_in_a_group_and_so_in_the_order(programs: dict[str, Any]) -> None:
    assert programs.keys() == {
        "nats",
        "redis",
        "engine-large",
        "engine-small",
        "lens-large",
        "lens-small",
        "forecaster",
        "prism",
    }


def test_every_program_is_restarted_and_logs_to_a_bounded_file_of_its_own(programs: dict[str, Any]) -> None:
    for name, program in programs.items():
        assert program.autorestart
        assert program.killasgroup
        assert program.redirect_stderr
        assert Path(program.stdout_logfile).name == f"{name}.log"
        assert program.stdout_logfile_maxbytes * (1 + program.stdout_logfile_backups) <= 20 * 2**20


def test_the_engines_are_unequal(programs: dict[str, Any]) -> None:
    large, small = (programs[name].environment for name in ("engine-large", "engine-small"))
    for key in ("ENGINE_THREADS", "ENGINE_SLOTS", "ENGINE_KV_TOKENS"):
        assert int(large[key]) == 2 * int(small[key])


def test_each_lens_drives_its_own_engine(programs: dict[str, Any]) -> None:
    for size in ("large", "small"):
        address = f"127.0.0.1:{programs[f'engine-{size}'].environment['ENGINE_GRPC_PORT']}"
        assert programs[f"lens-{size}"].environment["LENS_ENGINE_GRPC"] == address


def test_prism_knows_the_classes_that_the_load_generator_sends(
    programs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRISM_SLO_CLASSES", programs["prism"].environment["PRISM_SLO_CLASSES"])
    assert load(PrismSettings).slo_classes == {traffic.slo.name: traffic.slo for traffic in MIX}


def test_files_are_found_wherever_the_system_is_started_from(programs: dict[str, Any]) -> None:
    for path in ("infra/nats/nats.conf", "infra/redis/redis.conf"):
        assert (ROOT / path).is_file()
    assert "infra/nats/nats.conf" in programs["nats"].command
    assert "infra/redis/redis.conf" in programs["redis"].command
